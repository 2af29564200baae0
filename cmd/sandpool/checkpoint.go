package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/listing"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

func (a *app) extendCommand() *cobra.Command {
	var req wire.ExtendRequest
	cmd := &cobra.Command{
		Use:               "extend [--by DURATION] ID",
		Short:             "Extend a claim by half of its lifetime, or by less",
		Args:              needs(1, whichClaim),
		ValidArgsFunction: a.completeOneClaim,
		RunE: func(cmd *cobra.Command, ids []string) error {
			claim, err := a.daemon.ExtendBy(cmd.Context(), ids[0], req)
			if err != nil {
				return err
			}
			return a.print(claim, func(w io.Writer) {
				table.Line(w, fmt.Sprintf("%s ends in %s; %d of %d extensions used", claim.ID, listing.Until(claim.ExpiresAt), claim.Extended, claim.Extensions))
			})
		},
	}
	durationFlag(cmd.Flags(), "by", &req.By, "put the end off by this `duration`, at most half of the claim's lifetime")
	return cmd
}

func (a *app) checkpointCommand() *cobra.Command {
	var req wire.CheckpointRequest
	cmd := &cobra.Command{
		Use:   "checkpoint ID",
		Short: "Save a claim's sandbox to disk and print the checkpoint's id",
		Long: "Save a claim's sandbox to disk: its memory, its files and the processes that its init started. Programs that run under\n" +
			"`sandpool exec` are not saved, unless it was given --detach. Standard output gets the checkpoint's id alone.",
		Args:              needs(1, whichClaim),
		ValidArgsFunction: a.completeOneClaim,
		RunE: func(cmd *cobra.Command, ids []string) error {
			done := a.waiting("saving " + ids[0])
			saved, err := a.daemon.Checkpoint(cmd.Context(), ids[0], req)
			done()
			if err != nil {
				return err
			}
			return a.print(saved, func(w io.Writer) { table.Line(w, saved.ID) })
		},
	}
	cmd.Flags().BoolVar(&req.Stop, "stop", false, "end the claim with it: nothing runs after the moment that is saved")
	cmd.Flags().StringVar(&req.Comment, "comment", "", "a note of your own")
	return cmd
}

func (a *app) checkpointsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoints",
		Short: "List checkpoints",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.listCheckpoints(cmd.Context()) },
	}
	a.outputFlags(cmd)
	cmd.AddCommand(&cobra.Command{
		Use:               "rm ID...",
		Short:             "Delete checkpoints",
		Args:              needs(many, "which checkpoint? `sandpool checkpoints` shows them"),
		ValidArgsFunction: a.completeCheckpoints,
		RunE:              func(cmd *cobra.Command, ids []string) error { return a.deleteCheckpoints(cmd.Context(), ids) },
	})
	return cmd
}

func (a *app) listCheckpoints(ctx context.Context) error {
	saved, err := a.daemon.Checkpoints(ctx)
	if err != nil {
		return err
	}
	return a.printTable(wire.CheckpointList{Checkpoints: saved}, listing.Checkpoints(saved), "no checkpoints: `sandpool checkpoint` makes one")
}

// deleteCheckpoints goes on after an error and reports them all.
func (a *app) deleteCheckpoints(ctx context.Context, ids []string) error {
	return a.each(ids, "deleted", "delete", func(id string) error { return a.daemon.DeleteCheckpoint(ctx, id) })
}

// sideBySide is how many requests of one command are under way at once.
const sideBySide = 8

// each does something with each id, several at once, goes on after an error, and prints those with which it was done, in their order and under
// the key done in JSON.
func (a *app) each(ids []string, done, doing string, do func(id string) error) error {
	errs := make([]error, len(ids))
	var all sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for i, id := range ids {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := do(id); err != nil {
				errs[i] = fmt.Errorf("%s %s: %w", doing, id, err)
			}
		})
	}
	all.Wait()
	successes := []string{}
	for i, id := range ids {
		if errs[i] == nil {
			successes = append(successes, id)
		}
	}
	errs = append(errs, a.print(map[string][]string{done: successes}, func(w io.Writer) {
		for _, id := range successes {
			table.Line(w, id)
		}
	}))
	return errors.Join(errs...)
}

func (a *app) forkCommand() *cobra.Command {
	var req wire.ForkRequest
	cmd := &cobra.Command{
		Use:               "fork ID",
		Short:             "Claim sandboxes that go on from the present moment of a claim's, and print the claims' ids",
		Args:              needs(1, whichClaim),
		ValidArgsFunction: a.completeOneClaim,
		RunE: func(cmd *cobra.Command, ids []string) error {
			done := a.waiting("copying " + ids[0])
			forks, err := a.daemon.Fork(cmd.Context(), ids[0], req)
			done()
			if err != nil {
				return err
			}
			return a.print(wire.ClaimList{Claims: forks}, func(w io.Writer) {
				for _, fork := range forks {
					table.Line(w, fork.ID)
				}
			})
		},
	}
	cmd.Flags().IntVarP(&req.Count, "count", "n", 1, "how `many`")
	cmd.Flags().StringVar(&req.Type, "type", "", "lifetime type of the new claims; empty means the template's")
	lifetimeFlag(cmd.Flags(), &req.Lifetime)
	completeFlag(cmd, "type", lifetimeTypes)
	return cmd
}
