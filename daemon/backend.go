package daemon

import (
	"context"

	"sandpool/daemon/doors"
	"sandpool/daemon/templates"
	"sandpool/pool"
	"sandpool/pool/label"
	"sandpool/runtime"
)

var _ pool.Backend = backend{}

// backend is the runtime as the pools see it: a sandbox is started from its template's source, or goes on from a checkpoint.
type backend struct {
	*runtime.Engine
	restorer *restorer
	doors    *doors.Keeper
	// recount has the bytes of a sandbox that is handed out count from then on.
	recount func(sandbox string)
	// failed is told at what step a sandbox of a template failed; otherwise is the step when the error knows none.
	failed func(template, otherwise string, err error)
}

// stepRestore is the step that only this package knows; see runtime.StepError for the others.
const stepRestore = "restore"

func (b backend) Start(ctx context.Context, id string, from pool.Origin, labels map[string]string) (pool.Started, error) {
	how, err := b.start(ctx, id, from, labels)
	if err != nil && context.Cause(ctx) == nil {
		b.failed(from.Template, stepRestore, err)
	}
	return how, err
}

func (b backend) start(ctx context.Context, id string, from pool.Origin, labels map[string]string) (pool.Started, error) {
	if from.Checkpoint == "" {
		how, err := from.Source.Start(ctx, id, from.Cold, labels)
		if err == nil && !from.Cold {
			_, _ = b.Processes(ctx, id) // so that to give something to its claim takes no time then; a Give connects, too
		}
		return how, err
	}
	took, err := b.restorer.restore(ctx, id, from.Checkpoint, labels)
	return pool.Started{Phases: templates.Phases(took)}, err
}

// statuses are the runtime's words for what becomes of a sandbox in those of the pool.
var statuses = map[runtime.Status]pool.Status{runtime.Running: pool.Running, runtime.Paused: pool.Paused, runtime.Stopped: pool.Stopped}

func (b backend) Status(ctx context.Context, id string) (pool.Status, error) {
	status, err := b.Engine.Status(ctx, id)
	return statuses[status], err
}

// Label implements pool.Backend. What a sandbox may connect to is what its label says.
func (b backend) Label(ctx context.Context, id string, labels map[string]string) error {
	err := b.Engine.Label(ctx, id, labels)
	if err != nil {
		return err
	}
	return b.network(id, labels)
}

// network has what a sandbox may connect to, and the count of its bytes, follow its labels. The count begins anew first: a bound of a claim is not for
// what the sandbox used before it.
func (b backend) network(id string, labels map[string]string) error {
	if labels[pool.LabelClaim] != "" {
		b.recount(id)
	}
	if _, ok := labels[pool.LabelNetwork]; ok {
		return b.doors.Set(id, label.Join(labels, pool.LabelNetwork))
	}
	return nil
}

func (b backend) Pause(ctx context.Context, id string) error {
	b.doors.Rest(id)
	err := b.Engine.Pause(ctx, id)
	if err != nil {
		b.doors.Ensure(id) // it may run on
	}
	return err
}

func (b backend) Resume(ctx context.Context, id string) error {
	err := b.Engine.Resume(ctx, id)
	if err == nil {
		b.doors.Ensure(id)
	}
	return err
}

func (b backend) Destroy(ctx context.Context, id string) error {
	b.doors.Forget(id)
	return b.Engine.Destroy(ctx, id)
}

func (b backend) Revive(ctx context.Context, id, from string) error {
	return b.restorer.revive(ctx, id, from)
}
