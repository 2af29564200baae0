package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandpool/cmd/sandpool/request"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

func (a *app) claimCommand() *cobra.Command {
	var req wire.ClaimRequest
	var brings request.Brings
	var narrow request.Narrowing
	cold, shell := false, false
	cmd := &cobra.Command{
		Use:   "claim [flags] [-- COMMAND [ARG...]]",
		Short: "Claim a sandbox and print the claim's id",
		Long: "Claim a sandbox. Standard output gets the claim's id alone, as in ID=$(sandpool claim); standard error gets the details.\n\n" +
			"A command is started in it as by `sandpool exec --detach`. All that is started in the sandbox has what --env, --env-file and --secret give\n" +
			"in its environment. Secrets are in memory only, of the daemon and the sandbox: as long as it has any, the claim cannot be saved, forked\n" +
			"or suspended, unless it is claimed with --checkpoint-secrets.",
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return fmt.Errorf("unknown command %q for %q: one for the sandbox comes behind --", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cold {
				req.Start = wire.StartCold
			}
			req.Command, req.Network = args, narrow.Rules()
			if err := brings.Into(&req); err != nil {
				return err
			}
			return a.claim(cmd.Context(), req, shell)
		},
	}
	flags := cmd.Flags()
	brings.Flags(flags)
	narrow.Flags(flags)
	flags.BoolVar(&shell, "shell", false, "open a shell in it, as sandpool shell does")
	flags.StringVar(&req.Template, "template", "", "claim from this template; empty means the daemon's default")
	flags.StringVar(&req.Checkpoint, "checkpoint", "", "go on from this checkpoint")
	flags.StringVar(&req.Type, "type", "", "lifetime type, such as development, preview or cicd; empty means the template's")
	flags.StringVar(&req.RequestID, "request-id", "", "claim once only: the same id gets the same sandbox")
	flags.BoolVar(&cold, "cold", false, "start a sandbox for this claim rather than take one from the pool")
	flags.BoolVar(&req.Fallback, "fallback", false, "take a sandbox of the template generic rather than wait for one")
	durationFlag(flags, "wait", &req.Wait, "wait at most this `duration` for a sandbox, 0 not at all (default: the daemon's)")
	lifetimeFlag(flags, &req.Lifetime)
	a.completeTemplates(cmd)
	completeFlag(cmd, "checkpoint", a.completeCheckpoints)
	completeFlag(cmd, "type", lifetimeTypes)
	completeFlag(cmd, "preset", request.CompletePresets)
	return cmd
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
	started := time.Now()
	claim, err := a.daemon.Claim(ctx, req)
	if err != nil {
		return err
	}
	if !a.json {
		table.Line(a.errOut, fmt.Sprintf("%s: sandbox %s from %s (%s) in %.1f ms, ends in %s", claim.ID, claim.Sandbox, claim.Pool, claim.Tier,
			wire.Milliseconds(time.Since(started)), until(claim.ExpiresAt)))
	}
	if shell {
		return a.shell(ctx, claim.ID)
	}
	return a.print(claim, func(w io.Writer) { table.Line(w, claim.ID) })
}

func (a *app) releaseCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "release ID...",
		Short:             "Release claims and destroy their sandboxes",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeClaims,
		RunE:              func(cmd *cobra.Command, ids []string) error { return a.release(cmd.Context(), ids) },
	}
}

// release goes on after an error and reports them all.
func (a *app) release(ctx context.Context, ids []string) error {
	return a.each(ids, "released", "release", func(id string) error { return a.daemon.Release(ctx, id) })
}
