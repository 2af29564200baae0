package resource

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// snapshot is the sandbox's own root file system. Its container, which is there first, keeps it from containerd's garbage collection.
func (s *Set) snapshot() kind {
	remove := func(ctx context.Context, id string) error {
		return ignoreNotFound(s.cfg.Client.SnapshotService(s.cfg.Snapshotter).Remove(ctx, id))
	}
	prepare := func(ctx context.Context, spec *Spec) (err error) {
		spec.Root, err = s.cfg.Client.SnapshotService(s.cfg.Snapshotter).Prepare(ctx, spec.ID, spec.Parent)
		return err
	}
	return kind{
		name: "snapshot",
		make: func(ctx context.Context, spec *Spec) error {
			if err := prepare(ctx, spec); err != nil {
				return err
			}
			s.cfg.Step("snapshot prepared")
			return nil
		},
		// A sentry that was killed may have left a file there that keeps the next from starting. What the sandbox wrote is in the
		// checkpoint that it goes on from.
		renew: func(ctx context.Context, spec *Spec) error {
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
