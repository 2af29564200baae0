package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/listing"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

func (a *app) lsCommand() *cobra.Command {
	var chosen listing.Selection
	var watch bool
	cmd := &cobra.Command{
		Use:               "ls [ID...]",
		Aliases:           []string{"list"},
		Short:             "List claims",
		ValidArgsFunction: a.completeClaims,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if watch {
				return a.watch(cmd.Context(), func() (bool, error) { return false, a.ls(cmd.Context(), ids, chosen) })
			}
			return a.ls(cmd.Context(), ids, chosen)
		},
	}
	a.listFlags(cmd, &chosen)
	watchFlag(cmd, &watch)
	return cmd
}

// listFlags defines the flags of what lists claims.
func (a *app) listFlags(cmd *cobra.Command, chosen *listing.Selection) {
	a.outputFlags(cmd)
	chosen.Flags(cmd)
	chosen.SortFlag(cmd)
	a.completeTemplates(cmd)
}

func (a *app) ls(ctx context.Context, ids []string, chosen listing.Selection) error {
	claims, err := a.claims(ctx, ids, chosen)
	if err != nil {
		return err
	}
	return a.printTable(wire.ClaimList{Claims: claims}, listing.Claims(claims), "no claims: `sandpool claim` makes one")
}

// claims returns the named claims, or all that are chosen when none is named.
func (a *app) claims(ctx context.Context, ids []string, chosen listing.Selection) ([]wire.Claim, error) {
	switch {
	case len(ids) == 0:
		claims, err := a.daemon.List(ctx, chosen.Labels...)
		return chosen.Of(claims), err
	case chosen.Given():
		return nil, usageError{errors.New("--label, --template and --state do not go with ids")}
	}
	claims := make([]wire.Claim, 0, len(ids))
	for _, id := range ids {
		claim, err := a.daemon.Get(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", id, err)
		}
		claims = append(claims, claim)
	}
	return chosen.Of(claims), nil
}

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "inspect ID...",
		Short:             "Show all that is known of claims, as JSON or as YAML",
		Args:              needs(many, whichClaim),
		ValidArgsFunction: a.completeClaims,
		RunE: func(cmd *cobra.Command, ids []string) error {
			a.json = true
			return a.ls(cmd.Context(), ids, listing.Selection{})
		},
	}
	a.outputFlags(cmd)
	return cmd
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
	lines := []table.Pair{
		{Name: "version", Value: info.Version}, {Name: "pid", Value: strconv.Itoa(info.PID)}, {Name: "up for", Value: listing.Ago(info.StartedAt)}, {Name: "region", Value: info.Region},
		{Name: "containerd", Value: info.Containerd}, {Name: "namespace", Value: info.Namespace}, {Name: "runsc", Value: info.Runsc}, {Name: "shim", Value: info.Shim},
		{Name: "platform", Value: info.Platform},
		{Name: "promised memory", Value: ofHost(info.Promised.MemoryMiB, info.Promised.HostMemoryMiB)},
		{Name: "promised disk", Value: ofHost(info.Promised.DiskMiB, info.Promised.HostDiskMiB)},
	}
	for _, c := range info.Canaries {
		result := "ok"
		if !c.OK {
			result = "refused: " + cmp.Or(c.Reason, "no reason given")
		}
		lines = append(lines, table.Pair{Name: "trial of " + c.Platform, Value: result})
	}
	for _, warning := range info.Warnings {
		lines = append(lines, table.Pair{Name: "warning", Value: warning})
	}
	return a.printPairs(info, lines)
}

// ofHost says how much of what the host has is promised to sandboxes.
func ofHost(promised, host uint64) string {
	size := func(mib uint64) string { return table.Bytes(int64(mib) << 20) } //nolint:gosec // no host has so much
	return size(promised) + " of " + size(host)
}
