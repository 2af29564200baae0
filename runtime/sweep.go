package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sandpool/runtime/call"
)

// Sweep removes what belongs to no container and to no sandbox that live tells of: what an interrupted start or destroy left. It goes
// by what is this daemon's alone: its containerd and its state folder. live must know a sandbox from before its start until after its end.
func (e *Engine) Sweep(ctx context.Context, live func(id string) bool) error {
	if err := e.commands.SweepPipes(e.cfg.StartTimeout); err != nil {
		return err
	}
	return e.calls.Do(ctx, e.cfg.StartTimeout, call.Op{Verb: "sweep"}, func(ctx context.Context) error {
		// First what may be left over, then what is in use: what was made in between is in both.
		left, err := e.owned.Owners(ctx)
		if err != nil {
			return err
		}
		maps.DeleteFunc(left, func(id string, _ []string) bool { return live(id) || e.isHidden(id) })
		if len(left) == 0 { // and containerd need not say whose containers there are
			return nil
		}
		containers, err := e.client.ContainerService().List(ctx)
		if err != nil {
			return fmt.Errorf("list containers: %w", err)
		}
		for _, c := range containers {
			delete(left, c.ID)
		}
		var errs []error
		for _, id := range slices.Sorted(maps.Keys(left)) {
			e.log.Info("left-over sandbox is removed", "sandbox", id, "left", left[id])
			errs = append(errs, e.Destroy(ctx, id))
		}
		return errors.Join(errs...)
	})
}
