package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

func (a *app) extendCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "extend ID",
		Short:             "Put a claim's end off by half of its lifetime",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeClaims,
		RunE: func(cmd *cobra.Command, ids []string) error {
			claim, err := a.daemon.Extend(cmd.Context(), ids[0])
			if err != nil {
				return err
			}
			return a.print(claim, func(w io.Writer) {
				table.Line(w, fmt.Sprintf("%s ends in %s; %d of %d extensions used", claim.ID, until(claim.ExpiresAt), claim.Extended, claim.Extensions))
			})
		},
	}
}

func (a *app) checkpointCommand() *cobra.Command {
	var req wire.CheckpointRequest
	cmd := &cobra.Command{
		Use:   "checkpoint ID",
		Short: "Save a claim's sandbox to disk and print the checkpoint's id",
		Long: "Save a claim's sandbox to disk: its memory, its files and the processes that its init started. Programs that run under\n" +
			"`sandpool exec` are not saved, unless it was given --detach. Standard output gets the checkpoint's id alone.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeClaims,
		RunE: func(cmd *cobra.Command, ids []string) error {
			saved, err := a.daemon.Checkpoint(cmd.Context(), ids[0], req)
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
	cmd.AddCommand(&cobra.Command{
		Use:               "rm ID...",
		Short:             "Delete checkpoints",
		Args:              cobra.MinimumNArgs(1),
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
	return a.print(wire.CheckpointList{Checkpoints: saved}, func(w io.Writer) {
		table.Line(w, "ID", "TEMPLATE", "AGE", "MIB", "TRIGGER", "CLAIM", "PARENT", "OWNER", "COMMENT")
		for _, c := range saved {
			table.Line(w, c.ID, c.Template, age(c.CreatedAt), fmt.Sprintf("%.1f", mebibytes(c.Bytes)), c.Trigger, c.Claim, c.Parent, c.Owner, c.Comment)
		}
	})
}

// deleteCheckpoints goes on after an error and reports them all.
func (a *app) deleteCheckpoints(ctx context.Context, ids []string) error {
	return a.each(ids, "deleted", "delete", func(id string) error { return a.daemon.DeleteCheckpoint(ctx, id) })
}

// each does something with each id, goes on after an error, and prints those with which it was done, under the key done in JSON.
func (a *app) each(ids []string, done, doing string, do func(id string) error) error {
	successes := []string{}
	var errs []error
	for _, id := range ids {
		if err := do(id); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", doing, id, err))
			continue
		}
		successes = append(successes, id)
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
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeClaims,
		RunE: func(cmd *cobra.Command, ids []string) error {
			forks, err := a.daemon.Fork(cmd.Context(), ids[0], req)
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
	cmd.Flags().IntVarP(&req.Count, "count", "n", 1, "how many")
	cmd.Flags().StringVar(&req.Type, "type", "", "lifetime type of the new claims; empty means the template's")
	lifetimeFlag(cmd.Flags(), &req.Lifetime)
	completeFlag(cmd, "type", lifetimeTypes)
	return cmd
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
