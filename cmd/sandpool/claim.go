package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandpool/cmd/sandpool/listing"
	"sandpool/cmd/sandpool/request"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

func (a *app) claimCommand() *cobra.Command {
	var o order
	shell := false
	cmd := &cobra.Command{
		Use:   "claim [flags] [-- COMMAND [ARG...]]",
		Short: "Claim a sandbox and print the claim's id",
		Long: "Claim a sandbox. Standard output gets the claim's id alone, as in ID=$(sandpool claim); standard error gets the details.\n\n" +
			"A command is started in it as by `sandpool exec --detach`. All that is started in the sandbox has what --env, --env-file and --secret give\n" +
			"in its environment. Secrets are in memory only, of the daemon and the sandbox: as long as it has any, the claim cannot be saved, forked\n" +
			"or suspended, unless it is claimed with --checkpoint-secrets.",
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() == 0 {
				return nil
			}
			return unknown(cmd, args, "one for the sandbox comes behind --, and its template is --template")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.request(); err != nil {
				return usageError{err}
			}
			o.req.Command = args
			return a.claim(cmd.Context(), o.req, shell)
		},
	}
	a.orderFlags(cmd, &o)
	flags := cmd.Flags()
	flags.BoolVar(&shell, "shell", false, "open a shell in it, as sandpool shell does")
	flags.StringVar(&o.req.RequestID, "request-id", "", "claim once only: the same `id` gets the same sandbox")
	return cmd
}

// order is what is asked for a claim, from flags.
type order struct {
	req    wire.ClaimRequest
	brings request.Brings
	narrow request.Narrowing
	cold   bool
}

// request fills in what is asked of the daemon.
func (o *order) request() error {
	if o.cold {
		o.req.Start = wire.StartCold
	}
	o.req.Network = o.narrow.Rules()
	return o.brings.Into(&o.req)
}

// orderFlags defines the flags of an order, and what completes them.
func (a *app) orderFlags(cmd *cobra.Command, o *order) {
	flags := cmd.Flags()
	o.brings.Flags(flags)
	o.narrow.Flags(flags)
	flags.StringVar(&o.req.Template, "template", "", "claim from this template; empty means the daemon's default")
	flags.StringVar(&o.req.Checkpoint, "checkpoint", "", "go on from this checkpoint")
	flags.StringVar(&o.req.Type, "type", "", "lifetime type, such as development, preview or cicd; empty means the template's")
	flags.BoolVar(&o.cold, "cold", false, "start a sandbox for this claim rather than take one from the pool")
	flags.BoolVar(&o.req.Fallback, "fallback", false, "take a sandbox of the template generic rather than wait for one")
	durationFlag(flags, "wait", &o.req.Wait, "wait at most this `duration` for a sandbox, 0 not at all (default: the daemon's)")
	lifetimeFlag(flags, &o.req.Lifetime)
	a.completeTemplates(cmd)
	completeFlag(cmd, "checkpoint", a.completeCheckpoints)
	completeFlag(cmd, "type", lifetimeTypes)
	completeFlag(cmd, "preset", request.CompletePresets)
}

func lifetimeFlag(flags *pflag.FlagSet, to **lifetime.Duration) {
	durationFlag(flags, "lifetime", to, "how long the sandbox may live, a `duration` such as 90s, 1h30m or 7d (default: that of its type)")
}

// durationFlag is a flag that leaves its value nil unless it is given.
func durationFlag(flags *pflag.FlagSet, name string, to **lifetime.Duration, help string) {
	flags.Func(name, help, func(text string) error {
		d, err := lifetime.ParseDuration(text)
		*to = &d
		return err
	})
}

func (a *app) claim(ctx context.Context, req wire.ClaimRequest, shell bool) error {
	claim, err := a.claimed(ctx, req)
	if err != nil {
		return err
	}
	if shell {
		return a.shell(ctx, claim.ID)
	}
	return a.print(claim, func(w io.Writer) { table.Line(w, claim.ID) })
}

// claimed claims a sandbox and tells of it on standard error.
func (a *app) claimed(ctx context.Context, req wire.ClaimRequest) (wire.Claim, error) {
	started := time.Now()
	done := a.waiting("waiting for a sandbox of " + cmp.Or(req.Template, req.Checkpoint, "default"))
	claim, err := a.daemon.Claim(ctx, req)
	done()
	if err == nil && !a.encoded() {
		table.Line(a.errOut, fmt.Sprintf("%s: sandbox %s from %s (%s) in %s, ends in %s", claim.ID, claim.Sandbox, claim.Pool, claim.Source,
			table.Took(time.Since(started)), listing.Until(claim.ExpiresAt)))
	}
	if req.Fallback && (err != nil || claim.Source == wire.SourceStart || claim.Source == wire.SourceSnapshot) {
		a.tellFallback(ctx)
	}
	return claim, err
}

// tellFallback says that a claim could not fall back on the template generic, if there is none.
func (a *app) tellFallback(ctx context.Context) {
	pools, err := a.daemon.Pools(ctx)
	if err == nil && !slices.ContainsFunc(pools, func(p wire.Pool) bool { return p.Template == generic }) {
		table.Line(a.errOut, "sandpool: --fallback did nothing: there is no template "+generic)
	}
}

// generic is the template that claims fall back on.
const generic = "generic"

func (a *app) releaseCommand() *cobra.Command {
	var all bool
	var chosen listing.Selection
	cmd := &cobra.Command{
		Use:     "release ID... | --all",
		Aliases: []string{"rm"},
		Short:   "Release claims and destroy their sandboxes",
		Long: "Release claims and destroy their sandboxes, several at once. With --all these are all claims that `sandpool ls` shows, for root those of\n" +
			"all users, or those that the other flags choose.",
		Args: func(_ *cobra.Command, ids []string) error {
			switch {
			case all && len(ids) > 0:
				return errors.New("--all does not go with ids")
			case !all && chosen.Given():
				return errors.New("--label, --template and --state go with --all")
			case !all && len(ids) == 0:
				return errors.New(whichClaim + ", and --all releases them all")
			}
			return nil
		},
		ValidArgsFunction: a.completeClaims,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if all {
				claims, err := a.daemon.List(cmd.Context(), chosen.Labels...)
				if err != nil {
					return err
				}
				for _, claim := range chosen.Of(claims) {
					ids = append(ids, claim.ID)
				}
			}
			return a.each(ids, "released", "release", func(id string) error {
				if err := a.daemon.Release(cmd.Context(), id); !all || !client.IsNotFound(err) {
					return err
				}
				return nil // it ended by itself after it was listed
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "release all claims, or all that are chosen")
	chosen.Flags(cmd)
	return cmd
}
