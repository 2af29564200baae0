package main

import (
	"cmp"
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

func (a *app) poolsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pools",
		Short: "Show the pools, or change one",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.pools(cmd.Context()) },
	}
	cmd.AddCommand(a.setPoolCommand(), a.drainPoolCommand())
	return cmd
}

func (a *app) pools(ctx context.Context) error {
	pools, err := a.daemon.Pools(ctx)
	if err != nil {
		return err
	}
	return a.print(wire.PoolList{Pools: pools}, func(w io.Writer) { writePools(w, pools) })
}

func writePools(w io.Writer, pools []wire.Pool) {
	table.Line(w, "POOL", "MIN", "TARGET", "MAX", "WANTED", "AVAILABLE", "IN USE", "WARMING", "TOTAL", "WAITING", "STATE")
	for _, p := range pools {
		table.Line(w, p.Name, p.Min, p.Target, p.Max, p.Wanted, p.Available, p.InUse, p.Warming, p.Total, p.Waiting, poolState(p))
	}
}

// poolState says what keeps a pool from its size.
func poolState(p wire.Pool) string {
	var words []string
	if p.Degraded != "" {
		words = append(words, "degraded: "+p.Degraded)
	}
	if p.Blocked != "" {
		words = append(words, "blocked: "+p.Blocked)
	}
	if p.Hold {
		words = append(words, "on hold")
	}
	return cmp.Or(strings.Join(words, "; "), "ok")
}

func (a *app) setPoolCommand() *cobra.Command {
	var change wire.PoolChange
	cmd := &cobra.Command{
		Use:               "set NAME",
		Short:             "Change a pool until the daemon reloads its configuration or starts again",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := a.daemon.ChangePool(cmd.Context(), args[0], change)
			return a.printPool(pool, err)
		},
	}
	flags := cmd.Flags()
	numberFlag(flags, &change.Min, "min", "`sandboxes` at which draining stops")
	numberFlag(flags, &change.Target, "target", "`sandboxes` that the pool has unless use asks for more or fewer")
	numberFlag(flags, &change.Max, "max", "the most `sandboxes`")
	numberFlag(flags, &change.ScaleUp, "scale-up-threshold", "`per cent` in use at which the pool grows")
	numberFlag(flags, &change.ScaleDown, "scale-down-threshold", "`per cent` in use below which the pool drains")
	numberFlag(flags, &change.Hot, "hot", "`sandboxes` that run while they wait")
	switchFlag(flags, &change.Adaptive, "adaptive", "let the target follow the claims; --adaptive=false ends that")
	switchFlag(flags, &change.Hold, "hold", "refill nothing; --hold=false ends that")
	return cmd
}

// numberFlag defines a flag that leaves its value nil unless it is given.
func numberFlag(flags *pflag.FlagSet, value **int, name, usage string) {
	flags.Func(name, usage, func(text string) error {
		n, err := strconv.Atoi(text)
		*value = &n
		return err
	})
}

// switchFlag is numberFlag for true and false; without a value it is true.
func switchFlag(flags *pflag.FlagSet, value **bool, name, usage string) {
	flags.BoolFunc(name, usage, func(text string) error {
		on, err := strconv.ParseBool(text)
		*value = &on
		return err
	})
}

func (a *app) drainPoolCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "drain NAME",
		Short:             "Empty a pool and hold its refilling; its claims live on",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := a.daemon.DrainPool(cmd.Context(), args[0])
			return a.printPool(pool, err)
		},
	}
}

func (a *app) printPool(pool wire.Pool, err error) error {
	if err != nil {
		return err
	}
	return a.print(pool, func(w io.Writer) { writePools(w, []wire.Pool{pool}) })
}
