package daemon

import (
	"context"

	"sandpool/daemon/doors"
	"sandpool/daemon/templates"
	"sandpool/pool"
	"sandpool/pool/label"
	"sandpool/runtime"
)

var _ templates.Engine = equipper{}

// equipper is the runtime as templates see it: a sandbox has its network before its prewarm commands run.
type equipper struct {
	*runtime.Engine
	doors *doors.Keeper
}

func (e equipper) Start(ctx context.Context, id string, t *runtime.Prepared, labels map[string]string) (runtime.Phases, error) {
	return e.StartWith(ctx, id, t, labels, func(ctx context.Context) error { return openDoor(ctx, e.doors, id, labels) })
}

// openDoor gives a new sandbox the network that its labels name, if they do.
func openDoor(ctx context.Context, d *doors.Keeper, id string, labels map[string]string) error {
	if err := d.Set(id, label.Join(labels, pool.LabelNetwork)); err != nil {
		return err
	}
	return d.Open(ctx, id)
}

// openDoors opens those of the sandboxes that an earlier daemon left.
func openDoors(ctx context.Context, on *runtime.Engine, d *doors.Keeper) error {
	listed, err := on.List(ctx)
	if err != nil {
		return err
	}
	for _, l := range listed {
		if err := d.Set(l.ID, label.Join(l.Labels, pool.LabelNetwork)); err != nil {
			d.Log.Error("network of a sandbox cannot be read, so it has none", "sandbox", l.ID, "err", err)
		}
		if l.Status == runtime.Running {
			d.Ensure(l.ID)
		}
	}
	return nil
}
