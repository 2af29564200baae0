package runtime

import (
	"context"
	"fmt"
	"time"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"

	"sandpool/lifetime/wait"
	"sandpool/runtime/call"
	"sandpool/runtime/hostproc"
)

// Destroy kills a sandbox and deletes its task, its container and all that it owns. When that is not done within the deadline all of
// its processes are killed, and containerd gets as long again to tidy up.
func (e *Engine) Destroy(ctx context.Context, id string) error {
	return e.end(ctx, "destroy", id, e.destroy)
}

// end lets do end a sandbox, and again with force when that fails.
func (e *Engine) end(ctx context.Context, what, id string, do func(ctx context.Context, id string) error) error {
	err := e.calls.Do(ctx, e.cfg.KillTimeout, on(what, "", id), func(ctx context.Context) error {
		return do(ctx, id)
	})
	if err == nil || errdefs.IsUnavailable(err) {
		return err
	}
	e.log.Warn("sandbox is ended by force", "sandbox", id, "err", err)
	return e.calls.Do(ctx, e.cfg.KillTimeout, call.Op{Verb: what, Object: "sandbox " + id + " by force", Sandbox: id}, func(ctx context.Context) error {
		return e.endByForce(ctx, id, do)
	})
}

func (e *Engine) destroy(ctx context.Context, id string) error {
	if err := e.halt(ctx, id); err != nil {
		return err
	}
	if err := e.client.ContainerService().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete container: %w", err)
	}
	e.cfg.Step("container deleted")
	return e.owned.RemoveOfContainer(ctx, id)
}

// halt ends a sandbox but for its container and what belongs to that.
func (e *Engine) halt(ctx context.Context, id string) error {
	serving, done := e.endTask(id)
	defer done()
	if shim, known := serving.Find(id, hostproc.Shim); !known || !shim.Alive() {
		serving = nil // containerd may be tidying up behind it
	}
	if err := e.destroyTask(ctx, id, serving); err != nil {
		return err
	}
	e.cfg.Step("task deleted")
	if err := e.awaitProcesses(ctx, id, serving); err != nil {
		return err
	}
	return e.owned.RemoveOfTask(ctx, id)
}

// destroyTask ends the processes of a sandbox and makes containerd forget them. That there are none is no error.
func (e *Engine) destroyTask(ctx context.Context, id string, serving hostproc.Table) error {
	status, err := e.taskStatus(ctx, id)
	if err != nil {
		return ignoreNotFound(err)
	}
	if status == tasktypes.Status_PAUSED {
		if err := e.pauses.Forsake(ctx, id); err != nil {
			return fmt.Errorf("forsake task: %w", call.Native(err))
		}
		e.cfg.Step("task forsaken")
	}
	// A signal to the sentry ends all that runs in it, in a moment; one by way of runsc takes 60 ms.
	if err := killSentry(ctx, id, serving); err != nil {
		return err
	}
	e.cfg.Step("sentry killed")
	if err := e.awaitStop(ctx, id, status); err != nil {
		return fmt.Errorf("wait for task: %w", err)
	}
	_, err = e.client.TaskService().Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id})
	if err := ignoreNotFound(call.Native(err)); err != nil {
		return fmt.Errorf("delete task: %w", err)
	}
	return nil
}

// killSentry kills the sentry that is known, if it still is that of the sandbox, or else looks for one.
func killSentry(ctx context.Context, id string, serving hostproc.Table) error {
	if sentry, known := serving.Find(id, hostproc.Sentry); known {
		if lived, err := sentry.End(ctx); lived || err != nil {
			return err
		}
	}
	return hostproc.Kill(ctx, id, hostproc.Sentry)
}

// awaitProcesses waits until every process of a sandbox has ended. containerd forgets a task whose shim was killed
// before it has tidied up; what it does not get rid of in time is killed here.
func (e *Engine) awaitProcesses(ctx context.Context, id string, serving hostproc.Table) error {
	if len(serving) > 0 {
		patience, cancel := context.WithTimeout(ctx, e.cfg.KillTimeout/4)
		defer cancel()
		if serving.Await(patience) == nil {
			return nil
		}
	}
	pauses := wait.Backoff{First: wait.Interval, Last: 10 * wait.Interval} // each look reads of all processes of the host
	for began, looks := time.Now(), 1; ; looks++ {
		all, err := hostproc.List()
		left := all.Serving(id)
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Since(began) > e.cfg.KillTimeout/4 {
			if err := hostproc.Kill(ctx, id, hostproc.Working...); err != nil {
				return err
			}
		}
		if err := wait.Sleep(ctx, pauses.After(looks)); err != nil {
			return fmt.Errorf("%d processes do not end: %w", len(left), err)
		}
	}
}

// awaitStop waits until containerd knows that a killed task ended. The shim waits for started tasks only; that one in
// state created is gone it finds out when it is asked, and never tells those who wait.
func (e *Engine) awaitStop(ctx context.Context, id string, status tasktypes.Status) error {
	switch status {
	case tasktypes.Status_STOPPED:
		return nil
	case tasktypes.Status_CREATED:
	default:
		_, err := e.client.TaskService().Wait(ctx, &tasksapi.WaitRequest{ContainerID: id})
		return ignoreNotFound(call.Native(err))
	}
	for {
		status, err := e.taskStatus(ctx, id)
		if err != nil {
			return ignoreNotFound(err)
		}
		if status == tasktypes.Status_STOPPED {
			return nil
		}
		if err := wait.Sleep(ctx, wait.Interval); err != nil {
			return err
		}
	}
}

// endByForce kills the shim too. containerd notices that by itself and tidies up behind it; until it has, its
// answers are errors.
func (e *Engine) endByForce(ctx context.Context, id string, do func(ctx context.Context, id string) error) error {
	if err := hostproc.Kill(ctx, id, hostproc.Working...); err != nil {
		return err
	}
	for {
		err := do(ctx, id)
		if err == nil || wait.Sleep(ctx, wait.Interval) != nil {
			return err
		}
	}
}

// task asks containerd for a task; that there is none is an error of class NotFound.
func (e *Engine) task(ctx context.Context, id string) (*tasktypes.Process, error) {
	r, err := e.client.TaskService().Get(ctx, &tasksapi.GetRequest{ContainerID: id})
	if err != nil {
		return nil, fmt.Errorf("get task: %w", call.Native(err))
	}
	return r.GetProcess(), nil
}

func (e *Engine) taskStatus(ctx context.Context, id string) (tasktypes.Status, error) {
	task, err := e.task(ctx, id)
	return task.GetStatus(), err
}

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
