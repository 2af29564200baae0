package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/bench"
)

func (a *app) coldStartCommand() *cobra.Command {
	c := bench.ColdStart{Daemon: &a.daemon, Templates: map[string]*[]string{}}
	var svg string
	cmd := &cobra.Command{
		Use:   "cold-start",
		Short: "Time cold starts of several kinds beside claims from pools and warm templates",
		Long: "Time how long users wait for a sandbox, in rounds that claim each kind once, so that all meet the same state of the machine. Each is\n" +
			"timed here, from call to reply, once all pools are full and quiet, with the phases that the daemon tells of its start. A claim that was\n" +
			"served in another way than was meant is counted apart and not mixed in.",
		Args: func(cmd *cobra.Command, args []string) error { return errors.Join(cobra.NoArgs(cmd, args), c.Check()) },
		RunE: func(cmd *cobra.Command, _ []string) error { return a.coldStart(cmd.Context(), c, svg) },
	}
	flags := cmd.Flags()
	flags.IntVar(&c.Rounds, "rounds", 10, "claim each kind so often")
	flags.StringVar(&svg, "svg", "", "also write a plot to this file")
	for _, s := range bench.Scenarios {
		c.Templates[s.Flag] = flags.StringSlice(s.Flag, nil, s.Usage)
	}
	return cmd
}

func (a *app) coldStart(ctx context.Context, c bench.ColdStart, svg string) error {
	report, err := c.Run(ctx, func(round int) { _, _ = fmt.Fprintf(a.errOut, "round %d of %d\n", round, c.Rounds) })
	if err != nil {
		return err
	}
	if svg != "" {
		if err := os.WriteFile(svg, report.Plot(), 0o644); err != nil { //nolint:gosec // a picture for everyone
			return fmt.Errorf("write plot: %w", err)
		}
	}
	return a.printReport(report)
}
