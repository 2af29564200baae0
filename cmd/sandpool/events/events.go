// Package events chooses among events.
package events

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// kinds are those that are offered; a daemon may have others.
var kinds = []cobra.Completion{
	"claimed", "released", "extended", "warning", "grace", "checkpoint", "checkpoint_failed", "checkpoint_deleted", "stopped", "killed", "kill_failed", "died",
	"paused", "resumed", "suspended", "restored", "denied", "image_pulled", "image_failed", "gap",
}

// Selection are the flags by which events are chosen.
type Selection struct {
	Claim string // empty: all
	Last  int    // how many of the newest; 0: all
	since time.Time
	kinds []string
}

// Flags defines the flags.
func (s *Selection) Flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.Claim, "claim", "", "show the events of this claim only")
	flags.FuncP("last", "n", "show only the newest of those that were, so `many`", func(text string) (err error) {
		if s.Last, err = strconv.Atoi(text); err != nil || s.Last < 1 {
			return errors.New("want at least 1; only what happens from now on is --after " + wire.AfterNow)
		}
		return nil
	})
	flags.Func("since", "show what happened since this `time`, as in 2026-01-31T10:00:00Z, or this long ago, as in 10m", func(text string) (err error) {
		s.since, err = moment(text, time.Now())
		return err
	})
	flags.StringSliceVar(&s.kinds, "kind", nil, "show events of this `kind` only; may be repeated, or separated by commas")
	if err := cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is missing: a slip in this program
	}
}

// moment reads a time, or how long ago it was.
func moment(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	ago, err := lifetime.ParseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, errors.New("want a time such as 2026-01-31T10:00:00Z, or how long ago, such as 10m")
	}
	return now.Add(-ago.Std()), nil
}

// Check returns what is wrong with the flags.
func (s *Selection) Check() error {
	for _, kind := range s.kinds {
		if !slices.Contains(kinds, kind) {
			return fmt.Errorf("--kind %q: want one of %s", kind, strings.Join(kinds, ", "))
		}
	}
	return nil
}

// Has tells whether an event is chosen.
func (s *Selection) Has(e wire.Event) bool {
	return !e.Time.Before(s.since) && (len(s.kinds) == 0 || slices.Contains(s.kinds, e.Kind))
}

// Newest are the newest of the chosen events, of which e is the next.
func (s *Selection) Newest(last []wire.Event, e wire.Event) []wire.Event {
	if !s.Has(e) {
		return last
	}
	last = append(last, e)
	return last[max(len(last)-s.Last, 0):]
}
