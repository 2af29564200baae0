package main

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sandpool/lifetime/wait"
)

const (
	// redrawAfter is how often what is watched is looked at.
	redrawAfter = 500 * time.Millisecond
	// clearScreen also brings a terminal's cursor to the first line.
	clearScreen = "\x1b[H\x1b[2J"
)

func watchFlag(cmd *cobra.Command, watch *bool) {
	cmd.Flags().BoolVarP(watch, "watch", "w", false, "show it anew when something changes, until interrupted")
}

// watch shows what show prints whenever that changes, on a terminal over what it showed before, until show says that it is done or ctx ends.
func (a *app) watch(ctx context.Context, show func() (done bool, err error)) error {
	out, over := a.out, isTerminal(a.out) && !a.encoded()
	a.watching = true
	defer func() { a.out = out }()
	for last := ""; context.Cause(ctx) == nil; _ = wait.Sleep(ctx, redrawAfter) {
		var text bytes.Buffer
		if over {
			text.WriteString(clearScreen)
		}
		a.out = &text
		done, err := show()
		if text.String() != last && (err == nil || done) {
			last = text.String()
			if _, err := io.WriteString(out, last); err != nil {
				return printed(err)
			}
		}
		if (done || err != nil) && context.Cause(ctx) == nil {
			return err
		}
	}
	return nil
}
