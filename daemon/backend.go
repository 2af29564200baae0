package daemon

import (
	"context"

	"sandpool/pool"
	"sandpool/runtime"
)

var _ pool.Backend = backend{}

// backend is the runtime as the pools see it: a sandbox is started from its template or from a checkpoint.
type backend struct {
	*runtime.Engine
	checkpoints *checkpoints
}

func (b backend) Start(ctx context.Context, id string, from pool.Origin, labels map[string]string) error {
	if from.Checkpoint != "" {
		return b.checkpoints.restore(ctx, id, from.Checkpoint, labels)
	}
	return b.Engine.Start(ctx, id, from.Template, labels)
}

func (b backend) Revive(ctx context.Context, id, from string) error {
	return b.checkpoints.revive(ctx, id, from)
}
