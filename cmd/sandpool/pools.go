package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandpool/cmd/sandpool/listing"
	"sandpool/daemon/wire"
)

func (a *app) poolsCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "pools",
		Short: "Show the pools, or change one",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watch(cmd.Context(), func() (bool, error) { return false, a.pools(cmd.Context()) })
			}
			return a.pools(cmd.Context())
		},
	}
	a.outputFlags(cmd)
	watchFlag(cmd, &watch)
	cmd.AddCommand(a.setPoolCommand(), a.drainPoolCommand())
	return cmd
}

func (a *app) pools(ctx context.Context) error {
	pools, err := a.daemon.Pools(ctx)
	if err != nil {
		return err
	}
	return a.printTable(wire.PoolList{Pools: pools}, listing.Pools(pools), "no pools")
}

// whichPool asks for a pool that is missing.
const whichPool = "which pool? `sandpool pools` shows them"

func (a *app) setPoolCommand() *cobra.Command {
	var change wire.PoolChange
	cmd := &cobra.Command{
		Use:               "set [flags] NAME",
		Short:             "Change a pool until the daemon reloads its configuration or starts again",
		Args:              needs(1, whichPool),
		ValidArgsFunction: a.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := a.daemon.ChangePool(cmd.Context(), args[0], change)
			return a.printPool(pool, err)
		},
	}
	flags := cmd.Flags()
	numberFlag(flags, &change.Min, "min", "stop draining at this `number` of sandboxes")
	numberFlag(flags, &change.Target, "target", "the `number` of sandboxes that the pool has unless use asks for more or fewer")
	numberFlag(flags, &change.Max, "max", "the most sandboxes, a `number`")
	numberFlag(flags, &change.ScaleUp, "scale-up-threshold", "the `percentage` in use at which the pool grows")
	numberFlag(flags, &change.ScaleDown, "scale-down-threshold", "the `percentage` in use below which the pool drains")
	numberFlag(flags, &change.Hot, "hot", "the `number` of sandboxes that run while they wait")
	switchFlag(flags, &change.Adaptive, "adaptive", "let the target follow the claims; --adaptive=false ends that")
	switchFlag(flags, &change.Hold, "hold", "refill nothing; --hold=false ends that")
	return cmd
}

// numberFlag defines a flag that leaves its value nil unless it is given.
func numberFlag(flags *pflag.FlagSet, value **int, name, usage string) {
	flags.Func(name, usage, func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("want a number")
		}
		*value = &n
		return nil
	})
}

// switchFlag is numberFlag for true and false; without a value it is true.
func switchFlag(flags *pflag.FlagSet, value **bool, name, usage string) {
	flags.BoolFunc(name, usage, func(text string) error {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		*value = &on
		return nil
	})
}

func (a *app) drainPoolCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "drain NAME",
		Short:             "Empty a pool and hold its refilling; its claims live on",
		Args:              needs(1, whichPool),
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
	return a.printTable(pool, listing.Pools([]wire.Pool{pool}), "")
}
