package resource

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// Lease is the name of the kind that must be gone once a container is there.
const Lease = "lease"

const (
	leasePrefix = "sandpool-"
	// leaseTime outlives every start; containerd drops what a killed daemon left after it.
	leaseTime = time.Hour
)

// lease protects what is made for a sandbox from containerd's garbage collection until its container does.
func (s *Set) lease() kind {
	return kind{
		name:   Lease,
		make:   func(ctx context.Context, spec Spec) (context.Context, error) { return s.Hold(ctx, spec.ID) },
		remove: s.Release,
		owners: func(ctx context.Context) (ids []string, _ error) {
			all, err := s.cfg.Client.LeasesService().List(ctx)
			for _, l := range all {
				if id, ours := strings.CutPrefix(l.ID, leasePrefix); ours {
					ids = appendID(ids, id)
				}
			}
			return ids, err
		},
	}
}

// Hold makes the lease of a sandbox. What is made in the returned context is kept until Release.
func (s *Set) Hold(ctx context.Context, id string) (context.Context, error) {
	l, err := s.cfg.Client.LeasesService().Create(ctx, leases.WithID(leasePrefix+id), leases.WithExpiration(leaseTime))
	if err != nil {
		return nil, fmt.Errorf("create lease: %w", err)
	}
	s.cfg.Step("lease created")
	return leases.WithLease(ctx, l.ID), nil
}

// Release removes the lease of a sandbox whose container is there, or of one that is not wanted any more.
func (s *Set) Release(ctx context.Context, id string) error {
	err := s.cfg.Client.LeasesService().Delete(ctx, leases.Lease{ID: leasePrefix + id})
	return ignoreNotFound(err)
}

// snapshot is the sandbox's own root file system.
func (s *Set) snapshot() kind {
	remove := func(ctx context.Context, id string) error {
		return ignoreNotFound(s.cfg.Client.SnapshotService(s.cfg.Snapshotter).Remove(ctx, id))
	}
	prepare := func(ctx context.Context, spec Spec) error {
		_, err := s.cfg.Client.SnapshotService(s.cfg.Snapshotter).Prepare(ctx, spec.ID, spec.Parent)
		return err
	}
	return kind{
		name: "snapshot",
		make: func(ctx context.Context, spec Spec) (context.Context, error) {
			if err := prepare(ctx, spec); err != nil {
				return nil, err
			}
			s.cfg.Step("snapshot prepared")
			return ctx, nil
		},
		// A sentry that was killed may have left a file there that keeps the next from starting. What the sandbox wrote is in the
		// checkpoint that it goes on from.
		renew: func(ctx context.Context, spec Spec) error {
			if err := remove(ctx, spec.ID); err != nil {
				return fmt.Errorf("remove the old one: %w", err)
			}
			return prepare(ctx, spec)
		},
		remove: remove,
		owners: func(ctx context.Context) (ids []string, _ error) {
			err := s.cfg.Client.SnapshotService(s.cfg.Snapshotter).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
				ids = appendID(ids, info.Name)
				return nil
			})
			return ids, err
		},
	}
}

// appendID appends a name that is a sandbox's id.
func appendID(ids []string, name string) []string {
	if anyID.FindString(name) == name && name != "" {
		ids = append(ids, name)
	}
	return ids
}

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
