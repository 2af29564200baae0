package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

func (a *app) lsCommand() *cobra.Command {
	var labels []string
	cmd := &cobra.Command{
		Use:               "ls [ID...]",
		Short:             "List claims",
		ValidArgsFunction: a.completeClaims,
		RunE:              func(cmd *cobra.Command, ids []string) error { return a.ls(cmd.Context(), ids, labels) },
	}
	cmd.Flags().StringArrayVar(&labels, "label", nil, "only those with this label `NAME=VALUE`; may be repeated")
	return cmd
}

func (a *app) ls(ctx context.Context, ids, labels []string) error {
	claims, err := a.claims(ctx, ids, labels...)
	if err != nil {
		return err
	}
	return a.print(wire.ClaimList{Claims: claims}, func(w io.Writer) {
		table.Line(w, "ID", "TEMPLATE", "STATE", "TIER", "AGE", "ENDS IN", "OWNER")
		for _, c := range claims {
			state := string(c.State)
			if c.Reason != "" {
				state += ": " + c.Reason
			}
			table.Line(w, c.ID, c.Template, state, c.Tier, age(c.ClaimedAt), until(c.ExpiresAt), c.Owner)
		}
	})
}

// claims returns the named claims, or all when none is named.
func (a *app) claims(ctx context.Context, ids []string, labels ...string) ([]wire.Claim, error) {
	switch {
	case len(ids) == 0:
		return a.daemon.List(ctx, labels...)
	case len(labels) > 0:
		return nil, errors.New("--label does not go with ids")
	}
	claims := make([]wire.Claim, 0, len(ids))
	for _, id := range ids {
		claim, err := a.daemon.Get(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", id, err)
		}
		claims = append(claims, claim)
	}
	return claims, nil
}

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Show the daemon, its versions and its platform",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.info(cmd.Context()) },
	}
}

func (a *app) info(ctx context.Context) error {
	info, err := a.daemon.Info(ctx)
	if err != nil {
		return err
	}
	return a.print(info, func(w io.Writer) {
		table.Line(w, "version", info.Version)
		table.Line(w, "pid", info.PID)
		table.Line(w, "up for", age(info.StartedAt))
		table.Line(w, "region", info.Region)
		table.Line(w, "containerd", info.Containerd)
		table.Line(w, "namespace", info.Namespace)
		table.Line(w, "runsc", info.Runsc)
		table.Line(w, "shim", info.Shim)
		table.Line(w, "platform", info.Platform)
		table.Line(w, "promised memory", ofHost(info.Promised.MemoryMiB, info.Promised.HostMemoryMiB))
		table.Line(w, "promised disk", ofHost(info.Promised.DiskMiB, info.Promised.HostDiskMiB))
		for _, c := range info.Canaries {
			result := "ok"
			if !c.OK {
				result = "refused: " + cmp.Or(c.Reason, "no reason given")
			}
			table.Line(w, "canary "+c.Platform, result)
		}
		for _, warning := range info.Warnings {
			table.Line(w, "warning", warning)
		}
	})
}

// ofHost says how much of what the host has is promised to sandboxes.
func ofHost(promised, host uint64) string { return fmt.Sprintf("%d MiB of %d MiB", promised, host) }

// age says how long ago t was, until how long it is to t.
func age(t time.Time) string   { return short(time.Since(t)) }
func until(t time.Time) string { return short(time.Until(t)) }

// short writes a duration to two digits or so.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < 10*time.Minute:
		return d.Truncate(time.Second).String()
	case d < 10*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}
