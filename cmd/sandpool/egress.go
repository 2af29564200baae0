package main

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/request"
	"sandpool/cmd/sandpool/table"
	"sandpool/cmd/sandpool/target"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func (a *app) egressCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "egress",
		Short: "Show, change and explain what claims may connect to",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	show := a.networkCommand(cobra.Command{Use: "show ID", Short: "Show what a claim may connect to"}, func(ctx context.Context, id string) (wire.Network, error) {
		return a.daemon.Network(ctx, id)
	})
	cmd.AddCommand(show, a.setEgressCommand(), a.bindEgressCommand(), a.whyEgressCommand(), a.egressLogCommand())
	return cmd
}

// networkCommand does something with a claim's network, and shows what that is then.
func (a *app) networkCommand(cmd cobra.Command, do func(ctx context.Context, id string) (wire.Network, error)) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = needs(1, whichClaim), a.completeOneClaim
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		network, err := do(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return a.printPairs(network, target.Network(network))
	}
	return &cmd
}

func (a *app) setEgressCommand() *cobra.Command {
	var narrow request.Narrowing
	cmd := a.networkCommand(cobra.Command{
		Use:   "set ID",
		Short: "Narrow what a claim may connect to from now on",
		Long: "Put other rules of its own in place of a claim's. They narrow what its template allows and never widen it; without any the claim has all of\n" +
			"that. What is connected stays connected.",
	}, func(ctx context.Context, id string) (wire.Network, error) {
		return a.daemon.SetNetwork(ctx, id, *cmp.Or(narrow.Rules(), &wire.NetworkRules{}))
	})
	narrow.Flags(cmd.Flags())
	completeFlag(cmd, "preset", request.CompletePresets)
	return cmd
}

func (a *app) bindEgressCommand() *cobra.Command {
	var bind request.Binding
	cmd := a.networkCommand(cobra.Command{
		Use:   "bind ID",
		Short: "Send a claim's requests with secrets of its own",
		Long: "Put other secrets of its own in place of those that a claim's requests are sent with; without any it has none. They are in the memory of the\n" +
			"daemon only: once that was started anew, requests are refused until their secrets are given again.",
	}, func(ctx context.Context, id string) (wire.Network, error) {
		own, err := bind.Secrets()
		if err != nil {
			return wire.Network{}, usageError{err}
		}
		return a.daemon.BindSecrets(ctx, id, own)
	})
	bind.Flags(cmd.Flags())
	return cmd
}

func (a *app) whyEgressCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "why ID NAME[:PORT]",
		Short: "Say what would become of a connection, and why",
		Long: "Say what would become of a claim's connection to a port of a name or an address, by which rule, and what became of the last one. The port is\n" +
			"443 unless it is given. It exits with 1 if the connection would be denied.",
		Args:              needs(2, whichClaim, "which name? NAME or NAME:PORT"),
		ValidArgsFunction: a.completeOneClaim,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, port, err := target.Parse(args[1])
			if err != nil {
				return usageError{err}
			}
			why, err := a.daemon.WhyNetwork(cmd.Context(), args[0], name, port)
			if err != nil {
				return err
			}
			if err := a.printPairs(why, target.Why(why)); err != nil || why.Allowed {
				return err
			}
			return exitStatus(exitError)
		},
	}
}

func (a *app) egressLogCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "log ID",
		Short: "Show what a claim connected to, and what was denied",
		Long: "Show what a claim did in the network, of the last 512 entries. With --json each is a line of JSON. With --follow it goes on until the claim ends,\n" +
			"also when the daemon is restarted meanwhile.",
		Args:              needs(1, whichClaim),
		ValidArgsFunction: a.completeOneClaim,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !follow {
				return a.daemon.NetworkLog(cmd.Context(), args[0], 0, false, a.networkEntry)
			}
			return a.followNetwork(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens until the claim ends")
	return cmd
}

// followNetwork prints what a claim does until it ends. A daemon that was started again numbers from 1, so times tell what of that is new.
func (a *app) followNetwork(ctx context.Context, id string) error {
	var number uint64
	var latest time.Time
	begun := false
	return a.reconnecting(ctx, func(print printing) (bool, error) {
		err := a.daemon.NetworkLog(ctx, id, 0, true, func(e wire.NetworkEntry) error {
			if e.Number <= number && !e.Time.After(latest) {
				return nil
			}
			begun, number = true, e.Number
			if e.Time.After(latest) { // the clock may have been set back
				latest = e.Time
			}
			return print(a.networkEntry(e))
		})
		begun = begun || err == nil
		return begun && a.networkEnded(ctx, id), err
	})
}

// networkEnded tells whether a claim whose log was followed is gone or has no network: else it was the daemon that ended.
func (a *app) networkEnded(ctx context.Context, id string) bool {
	network, err := a.daemon.Network(ctx, id)
	return err == nil && len(network.Layers) == 0 || client.IsNotFound(err)
}

// networkEntry prints one line of what a claim did.
func (a *app) networkEntry(e wire.NetworkEntry) error {
	if a.json {
		return printed(json.NewEncoder(a.out).Encode(e))
	}
	return printed(table.WriteText(a.out, a.screen().Width, table.Further, target.Entry(e)))
}
