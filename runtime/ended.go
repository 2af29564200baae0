package runtime

import (
	"context"
	"fmt"
	"time"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
)

// The exit codes by which the init says that it could not run its command.
const (
	exitNotRunnable = 126
	exitNotFound    = 127
	exitLost        = 128 // the shim's own: its "runsc wait" failed
)

// endTime is how long containerd may take to notice that a sandbox has ended.
const endTime = 2 * time.Second

// whyEnded says why a sandbox that a probe did not reach has ended, if it has, or else what the probe met.
func (e *Engine) whyEnded(ctx context.Context, id, command string, met error) error {
	code, ended := e.exitCode(ctx, id)
	if !ended {
		return met
	}
	switch end := e.ending(id, code).death(); {
	case end.Cause == CauseMemory, end.Cause == CausePanic:
		return fmt.Errorf("probe: the sandbox ended: %s", end.Reason)
	case command == "":
		return fmt.Errorf("probe: the sandbox ended with exit code %d: %w", code, met)
	case code == exitNotFound:
		return fmt.Errorf("probe: command %q is not in the image: mend the template's command or PATH", command)
	case code == exitNotRunnable:
		return fmt.Errorf("probe: command %q cannot be run: it is no program for this processor, or the template's user may not run it", command)
	case code == exitLost:
		return fmt.Errorf("probe: command %q ended at once, and its exit code is lost: a sandbox ends with its command", command)
	default:
		return fmt.Errorf("probe: command %q ended at once with exit code %d: a sandbox ends with its command", command, code)
	}
}

// blame adds to what went wrong in a sandbox, because it ended, why it did.
func (e *Engine) blame(ctx context.Context, id string, met error) error {
	if met == nil || e.Alive(id) {
		return met
	}
	code, ended := e.exitCode(ctx, id)
	if !ended {
		return met
	}
	return fmt.Errorf("%w: the sandbox ended: %s", met, e.ending(id, code).death().Reason)
}

// exitCode returns that of a sandbox's init, if containerd notices soon that it ended.
func (e *Engine) exitCode(ctx context.Context, id string) (code uint32, ended bool) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	// Its state says so a moment before its exit code is known.
	r, err := e.client.TaskService().Wait(ctx, &tasksapi.WaitRequest{ContainerID: id})
	return r.GetExitStatus(), err == nil
}
