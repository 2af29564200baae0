package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool/signals"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func (a *app) runCommand() *cobra.Command {
	var o order
	var how execution
	var detach bool
	remove := true
	cmd := &cobra.Command{
		Use:   "run [flags] [--] COMMAND [ARG...]",
		Short: "Run a command in a sandbox of its own",
		Long: "Claim a sandbox, run a command in it as `sandpool exec` does, and release it when the command has ended or when this one is told to end, by\n" +
			"Ctrl-C, SIGTERM or SIGHUP. What --env, --env-file and --secret give is in the environment of all that is started in the sandbox.\n\n" +
			"With --rm=false the claim stays, and with --detach the command runs on by itself; standard output gets the claim's id alone then.\n\n" +
			"The exit code is the command's, or one from 120 to 127 of its own: see `sandpool help exit-codes`.",
		Args:              needs(many, "which command? `sandpool run COMMAND`"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(o.request(), how.request(args)); err != nil {
				return usageError{err}
			}
			if detach {
				o.req.Command = args
				return a.claim(cmd.Context(), o.req, false)
			}
			return a.run(cmd.Context(), o.req, how, remove)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what is behind the command is its own
	how.flags(cmd)
	a.orderFlags(cmd, &o)
	flags.BoolVar(&remove, "rm", true, "release the claim at the end")
	flags.BoolVarP(&detach, "detach", "d", false, "let the command run on by itself, and print the claim's id")
	for _, name := range []string{"tty", "no-stdin", "timeout", "user", "workdir", "ulimit", "interactive"} {
		cmd.MarkFlagsMutuallyExclusive("detach", name)
	}
	return cmd
}

// run runs a command in a claim of its own. Whatever ends it, the claim is released.
func (a *app) run(ctx context.Context, req wire.ClaimRequest, how execution, remove bool) (err error) {
	defer signals.Each(func(os.Signal) {}, unix.SIGPIPE)() // else output that nobody reads ends this program, and the claim stays
	req.RequestID = "run-" + rand.Text()                   // finds a claim whose answer did not come
	claim, err := a.claimed(ctx, req)
	_, answered := errors.AsType[*wire.Error](err)
	if cause := context.Cause(ctx); cause != nil && err == nil {
		err = fmt.Errorf("run: %w", cause)
		remove = true
	} else if err != nil && !answered {
		remove = true
		claim.ID = a.claimOf(ctx, req.RequestID)
	}
	if claim.ID == "" {
		return err
	}
	if remove {
		defer func() { err = a.giveBack(ctx, claim.ID, err) }()
	}
	if err != nil {
		return err
	}
	err = a.exec(ctx, claim.ID, how)
	if _, away := errors.AsType[*client.UnreachableError](err); !away && errors.Is(err, unix.EPIPE) {
		return exitStatus(128 + int(unix.SIGPIPE)) // as that of a program that the signal ends
	}
	return err
}

// claimOf is the claim that came of a request, or none.
func (a *app) claimOf(ctx context.Context, request string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	claims, err := a.daemon.List(ctx)
	i := slices.IndexFunc(claims, func(c wire.Claim) bool { return c.RequestID == request })
	if err != nil || i < 0 {
		return ""
	}
	return claims[i].ID
}

// giveBack releases a claim behind a command, and returns the command's error, or that of the release if it had none.
func (a *app) giveBack(ctx context.Context, id string, of error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	err := a.daemon.Release(ctx, id)
	if err == nil || client.IsNotFound(err) {
		return of
	}
	err = fmt.Errorf("release %s, which may still be there: %w", id, err)
	if of == nil {
		return err
	}
	table.Line(a.errOut, "sandpool: "+err.Error())
	return of
}
