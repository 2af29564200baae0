package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/events"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime/wait"
)

// reconnectAfter is how long `sandpool events -f` waits before it connects again.
const reconnectAfter = time.Second

func (a *app) eventsCommand() *cobra.Command {
	var after string
	var chosen events.Selection
	var follow bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened to claims",
		Long: "Show what happened to claims, as far back as the daemon remembers. With --json each event is a line of JSON; its cursor is\n" +
			"what --after takes. With --follow it goes on with what happens, also when the daemon is restarted meanwhile.",
		Args: func(cmd *cobra.Command, args []string) error {
			return errors.Join(cobra.NoArgs(cmd, args), chosen.Check())
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !follow || chosen.Last > 0 {
				var last []wire.Event
				cursor, err := a.daemon.Events(cmd.Context(), after, chosen.Claim, false, func(e wire.Event) error {
					if chosen.Last == 0 {
						return a.chosenEvent(&chosen, e)
					}
					last = chosen.Newest(last, e)
					return nil
				})
				for _, e := range last {
					err = cmp.Or(err, a.event(e))
				}
				if !follow || err != nil {
					return err
				}
				after = cursor
			}
			return a.follow(cmd.Context(), after, &chosen)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens until interrupted")
	cmd.Flags().StringVar(&after, "after", "", "a `cursor`: show what comes behind it; \""+wire.AfterNow+"\": only what happens from now on")
	chosen.Flags(cmd)
	completeFlag(cmd, "claim", a.completeClaims)
	return cmd
}

// chosenEvent prints one event if it is chosen.
func (a *app) chosenEvent(chosen *events.Selection, e wire.Event) error {
	if !chosen.Has(e) {
		return nil
	}
	return a.event(e)
}

// event prints one event.
func (a *app) event(e wire.Event) error {
	if a.json {
		return printed(json.NewEncoder(a.out).Encode(e))
	}
	return printed(table.WriteText(a.out, a.screen().Width, table.Further, fmt.Sprintf("%s  %-17s  %-18s  %s", e.Time.Local().Format(time.DateTime), e.Kind, e.Claim, e.Message)))
}

// follow prints events until ctx ends.
func (a *app) follow(ctx context.Context, after string, chosen *events.Selection) error {
	return a.reconnecting(ctx, func(print printing) (bool, error) {
		cursor, err := a.daemon.Events(ctx, after, chosen.Claim, true, func(e wire.Event) error { return print(a.chosenEvent(chosen, e)) })
		after = cursor
		return false, err
	})
}

// printing is told, with its error, that something was printed, and returns the error.
type printing func(error) error

// reconnecting makes a call that prints what it gets, until it says that it is done or ctx ends. Once it was connected it is made again
// whenever the connection breaks.
func (a *app) reconnecting(ctx context.Context, call func(printing) (done bool, err error)) error {
	for connected, told := false, false; ; {
		var failed error // to print
		done, err := call(func(err error) error {
			told = false
			failed = err
			return err
		})
		switch {
		case failed != nil:
			return failed
		case done, context.Cause(ctx) != nil:
			return nil
		case !passes(err, connected):
			return err
		}
		connected = true
		if !told {
			_, _ = fmt.Fprintln(a.errOut, "sandpool: the connection to the daemon is gone; trying again until it is back")
			told = true
		}
		_ = wait.Sleep(ctx, reconnectAfter)
	}
}

// passes tells whether a daemon that was connected to, or was not yet, may come back after err.
func passes(err error, connected bool) bool {
	if answer, refused := errors.AsType[*wire.Error](err); refused {
		return connected && answer.Status == http.StatusServiceUnavailable
	}
	_, unreachable := errors.AsType[*client.UnreachableError](err)
	return connected || !unreachable
}
