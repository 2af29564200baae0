package runtime

import (
	"bytes"
	"context"
	"io"
	"syscall"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"

	"sandpool/runtime/template"
)

// Tell hands a line to the init of a running sandbox, which passes it on to the processes in it that want to know.
func (e *Engine) Tell(ctx context.Context, id string, line []byte) error {
	return e.calls.Do(ctx, e.cfg.PauseTimeout, on("tell", "", id), func(ctx context.Context) error {
		return e.runInitAsRoot(ctx, id, bytes.NewReader(line), "tell")
	})
}

// runInitAsRoot runs the sandbox's own init as a command that may change what only root may. Its own folder may be gone, so it is
// not run there.
func (e *Engine) runInitAsRoot(ctx context.Context, id string, stdin io.Reader, args ...string) error {
	return e.mustSucceed(ctx, id, ExecSpec{Args: append([]string{template.InitPath}, args...), Cwd: "/", Root: true, Stdin: stdin})
}

// Terminate asks the init of a running sandbox to end, which passes that on. That it has ended is an error of class NotFound.
func (e *Engine) Terminate(ctx context.Context, id string) error {
	return e.calls.Do(ctx, e.cfg.PauseTimeout, on("terminate", "", id), func(ctx context.Context) error {
		_, err := e.client.TaskService().Kill(ctx, &tasksapi.KillRequest{ContainerID: id, Signal: uint32(syscall.SIGTERM)})
		return err
	})
}
