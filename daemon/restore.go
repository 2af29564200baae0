package daemon

import (
	"context"
	"log/slog"

	"github.com/containerd/errdefs"

	"sandpool/daemon/doors"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
)

// reviver is what a restorer needs of the runtime.
type reviver interface {
	Restore(ctx context.Context, id string, fit checkpoint.Compatibility, dir string, labels map[string]string) (runtime.Phases, error)
	Revive(ctx context.Context, id string, fit checkpoint.Compatibility, dir string) error
}

var _ reviver = (*runtime.Engine)(nil)

// restorer lets sandboxes go on from checkpoints. It knows nothing of the pools, which work on it.
type restorer struct {
	store  *checkpoint.Store
	engine reviver
	doors  *doors.Keeper
	log    *slog.Logger
}

// restore starts a sandbox that goes on from a checkpoint.
func (r *restorer) restore(ctx context.Context, id, from string, labels map[string]string) (took runtime.Phases, err error) {
	err = r.use(from, func(dir string, m checkpoint.Manifest) error {
		took, err = r.engine.Restore(ctx, id, m.Compatibility, dir, labels)
		if err == nil {
			err = openDoor(ctx, r.doors, id, labels)
		}
		return err
	})
	return took, err
}

// revive lets a halted sandbox go on from its checkpoint. That is then of no use any more, unless it was meant for more.
func (r *restorer) revive(ctx context.Context, id, from string) error {
	err := r.use(from, func(dir string, m checkpoint.Manifest) error {
		err := r.engine.Revive(ctx, id, m.Compatibility, dir)
		if err == nil {
			r.doors.Ensure(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.forget(from)
	return nil
}

func (r *restorer) use(id string, do func(dir string, m checkpoint.Manifest) error) error {
	m, err := r.store.Get(id)
	if err != nil {
		return err
	}
	dir, release, err := r.store.Use(id)
	if err != nil {
		return err
	}
	defer release()
	return do(dir, m)
}

// forget deletes a checkpoint that a claim was woken from, or is not any more, unless it became more than that.
func (r *restorer) forget(id string) {
	if m, err := r.store.Get(id); err == nil && m.Trigger == checkpoint.TriggerIdle {
		r.discard(id)
	}
}

// discard deletes a checkpoint that nobody needs. One that cannot be deleted now is looked at again at the next start.
func (r *restorer) discard(id string) {
	if err := r.store.Delete(id); err != nil && !errdefs.IsNotFound(err) {
		r.log.Warn("checkpoint could not be deleted", "checkpoint", id, "err", err)
	}
}
