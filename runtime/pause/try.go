package pause

import (
	"context"
	"fmt"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"

	"sandpool/runtime/call"
)

// Try finds out whether sentries of this runsc can be paused and resumed without the shim: in a sandbox that runs, and that is to be ended
// after an error. Each time runsc and containerd must say the same, and at last the sandbox must answer probe.
func (p *Pauser) Try(ctx context.Context, id string, probe func(ctx context.Context, id string) error) error {
	for _, step := range []struct {
		change
		want tasktypes.Status
	}{{p.pausing(), tasktypes.Status_PAUSED}, {p.resuming(), tasktypes.Status_RUNNING}} {
		if err := p.directly(ctx, id, step.change); err != nil {
			return err
		}
		status, err := p.cfg.Program.Status(ctx, p.cfg.Root, id)
		if err != nil {
			return err
		}
		if status != step.to {
			return fmt.Errorf("runsc says that it is %q, and not %q", status, step.to)
		}
		task, err := p.cfg.Client.TaskService().Get(ctx, &tasksapi.GetRequest{ContainerID: id})
		if err != nil {
			return fmt.Errorf("get task: %w", call.Native(err))
		}
		if got := task.GetProcess().GetStatus(); got != step.want {
			return fmt.Errorf("containerd says that it is %s, and not %s", got, step.want)
		}
	}
	return probe(ctx, id)
}
