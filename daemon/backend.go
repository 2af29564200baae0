package daemon

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"sandpool/pool"
	"sandpool/runtime"
)

var _ pool.Backend = backend{}

// backend is the runtime as the pools see it: a sandbox is started from its template, or goes on from the template's snapshot or
// from a checkpoint.
type backend struct {
	*runtime.Engine
	checkpoints *checkpoints
	templates   *preparer
	failed      failedFunc
}

// failedFunc is told at what step a template or a sandbox of it failed; otherwise is the step when the error knows none.
type failedFunc func(template, otherwise string, err error)

func (b backend) Start(ctx context.Context, id string, from pool.Origin, labels map[string]string) (pool.Started, error) {
	how, err := b.start(ctx, id, from, labels)
	if err != nil && context.Cause(ctx) == nil {
		b.failed(from.Template, stepRestore, err)
	}
	return how, err
}

func (b backend) start(ctx context.Context, id string, from pool.Origin, labels map[string]string) (pool.Started, error) {
	if from.Checkpoint != "" {
		took, err := b.checkpoints.restore(ctx, id, from.Checkpoint, labels)
		return pool.Started{Phases: phases(took)}, err
	}
	prepared, snapshot := b.templates.current(from.Template)
	if prepared == nil { // a reload has removed it
		return pool.Started{}, fmt.Errorf("start sandbox %s: template %q is not ready: %w", id, from.Template, errdefs.ErrNotFound)
	}
	if snapshot == "" || from.Cold {
		took, err := b.Engine.Start(ctx, id, prepared, labels)
		return pool.Started{Phases: phases(took)}, err
	}
	took, err := b.checkpoints.restore(ctx, id, snapshot, labels)
	b.templates.restored(from.Template, snapshot, err)
	return pool.Started{Phases: phases(took), Restored: true}, err
}

func phases(p runtime.Phases) pool.Phases {
	return pool.Phases{Image: p.Image, Sentry: p.Sentry, UserSpace: p.UserSpace, Dependencies: p.Dependencies, Ready: p.Ready}
}

// statuses are the runtime's words for what becomes of a sandbox in those of the pool.
var statuses = map[runtime.Status]pool.Status{runtime.Running: pool.Running, runtime.Paused: pool.Paused, runtime.Stopped: pool.Stopped}

func (b backend) Status(ctx context.Context, id string) (pool.Status, error) {
	status, err := b.Engine.Status(ctx, id)
	return statuses[status], err
}

func (b backend) Revive(ctx context.Context, id, from string) error {
	return b.checkpoints.revive(ctx, id, from)
}
