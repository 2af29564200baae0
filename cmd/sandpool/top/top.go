// Package top watches a daemon's pools, claims and events on a terminal.
package top

import (
	"context"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// LeastInterval is the shortest time between two looks.
const LeastInterval = 100 * time.Millisecond

const (
	// lookTimeout is how long a look may take before the daemon counts as away.
	lookTimeout = 5 * time.Second
	// keptEvents is how many of the newest events are shown at most.
	keptEvents = 20
)

// Run shows look after look on a terminal until its user ends it, or ctx does.
func Run(ctx context.Context, daemon *client.Client, interval time.Duration, first Looked, terminal io.Writer) error {
	model := newTop(interval, first, func(after string) Looked { return at(ctx, daemon, after) })
	_, err := tea.NewProgram(model, tea.WithContext(ctx), tea.WithOutput(terminal), tea.WithoutSignalHandler()).Run()
	if err != nil && context.Cause(ctx) == nil {
		return fmt.Errorf("use terminal: %w", err)
	}
	return nil
}

// Look is what the daemon tells at one moment.
type Look struct {
	Time   time.Time    `json:"time"`
	Info   wire.Info    `json:"info"`
	Pools  []wire.Pool  `json:"pools"`
	Claims []wire.Claim `json:"claims"`
	Events []wire.Event `json:"events"` // the newest behind a cursor, oldest first
}

// Looked is what came of a look. Its time and cursor are set after an error too.
type Looked struct {
	Look
	cursor  string // where the next look goes on with the events
	claimed uint64 // events of claims, those that were not kept too
	err     error
}

// At is a first look.
func At(ctx context.Context, daemon *client.Client) (Looked, error) {
	l := at(ctx, daemon, "")
	return l, l.err
}

// at asks the daemon for everything at once, and for the events behind a cursor.
func at(ctx context.Context, daemon *client.Client, after string) (l Looked) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	defer func() { l.Time = time.Now() }()
	l.cursor = after
	if l.Info, l.err = daemon.Info(ctx); l.err != nil {
		return l
	}
	if l.Pools, l.err = daemon.Pools(ctx); l.err != nil {
		return l
	}
	if l.Claims, l.err = daemon.List(ctx); l.err != nil {
		return l
	}
	sortByEnd(l.Claims)
	l.Events = []wire.Event{} // [] and not null as JSON
	cursor, err := daemon.Events(ctx, after, "", false, func(e wire.Event) error {
		l.Events = newest(append(l.Events, e))
		if e.Kind == kindClaimed {
			l.claimed++
		}
		return nil
	})
	if err != nil {
		l.err = err
		return l
	}
	l.cursor = cursor
	return l
}
