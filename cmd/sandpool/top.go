package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/top"
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
			if interval < top.LeastInterval {
				return fmt.Errorf("want an --interval of at least %s", top.LeastInterval)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			first, err := top.At(cmd.Context(), &a.daemon)
			if err != nil {
				return err
			}
			if once || a.encoded() || !isTerminal(a.out) {
				return a.print(first.Look, func(w io.Writer) { first.Write(w, a.screen().Width) })
			}
			return top.Run(cmd.Context(), &a.daemon, interval, first, a.out)
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "the time from one look to the next")
	cmd.Flags().BoolVar(&once, "once", false, "print one look and end")
	return cmd
}
