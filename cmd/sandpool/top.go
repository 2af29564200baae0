package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sandpool/daemon/wire"
)

const (
	// leastInterval is the shortest time between two looks of `sandpool top`.
	leastInterval = 100 * time.Millisecond
	// lookTimeout is how long a look may take before the daemon counts as away.
	lookTimeout = 5 * time.Second
	// keptEvents is how many of the newest events are shown at most.
	keptEvents = 20
)

func (a *app) topCommand() *cobra.Command {
	var interval time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch pools, claims and events",
		Long: "Watch pools, claims and events, on the whole terminal until q is pressed; ? shows the other keys. Other users than root see their\n" +
			"own claims and events. With --once or --json, or without a terminal, it prints one look and ends.",
		Args: func(cmd *cobra.Command, args []string) error {
			if interval < leastInterval {
				return fmt.Errorf("want an --interval of at least %s", leastInterval)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			first := a.look(cmd.Context(), "")
			if first.err != nil {
				return first.err
			}
			if once || a.json || !isTerminal(a.out) {
				return a.print(first.look, func(w io.Writer) { first.write(w) })
			}
			return a.top(cmd.Context(), interval, first)
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "the time from one look to the next")
	cmd.Flags().BoolVar(&once, "once", false, "print one look and end")
	return cmd
}

func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// top shows look after look on the terminal until its user ends it, or ctx does.
func (a *app) top(ctx context.Context, interval time.Duration, first looked) error {
	model := newTop(interval, first, func(after string) looked { return a.look(ctx, after) })
	_, err := tea.NewProgram(model, tea.WithContext(ctx), tea.WithOutput(a.out), tea.WithoutSignalHandler()).Run()
	if err != nil && context.Cause(ctx) == nil {
		return fmt.Errorf("use terminal: %w", err)
	}
	return nil
}

// look is what the daemon tells at one moment.
type look struct {
	Time   time.Time    `json:"time"`
	Info   wire.Info    `json:"info"`
	Pools  []wire.Pool  `json:"pools"`
	Claims []wire.Claim `json:"claims"`
	Events []wire.Event `json:"events"` // the newest behind a cursor, oldest first
}

// looked is what came of a look. Its time and cursor are set after an error too.
type looked struct {
	look
	cursor  string // where the next look goes on with the events
	claimed uint64 // events of claims, those that were not kept too
	err     error
}

// look asks the daemon for everything at once, and for the events behind a cursor.
func (a *app) look(ctx context.Context, after string) (l looked) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	defer func() { l.Time = time.Now() }()
	l.cursor = after
	if l.Info, l.err = a.daemon.Info(ctx); l.err != nil {
		return l
	}
	if l.Pools, l.err = a.daemon.Pools(ctx); l.err != nil {
		return l
	}
	if l.Claims, l.err = a.daemon.List(ctx); l.err != nil {
		return l
	}
	sortByEnd(l.Claims)
	l.Events = []wire.Event{} // [] and not null as JSON
	cursor, err := a.daemon.Events(ctx, after, "", false, func(e wire.Event) error {
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
