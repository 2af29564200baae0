package runtime

import (
	"context"
	"fmt"
	"maps"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/typeurl/v2"

	"sandpool/runtime/call"
	"sandpool/runtime/command"
	"sandpool/runtime/resource"
	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
)

// Status is what became of a sandbox's processes.
type Status string

// What may have become of it.
const (
	Running Status = "running"
	Paused  Status = "paused"
	Stopped Status = "stopped" // they ended, or were never started
)

// Start makes the sandbox id from a prepared template and returns when it runs, its prewarm commands have succeeded and
// its readiness checks pass. A sandbox whose start failed must be destroyed.
func (e *Engine) Start(ctx context.Context, id string, t *Prepared, labels map[string]string) (Phases, error) {
	return e.StartWith(ctx, id, t, labels, func(context.Context) error { return nil })
}

// StartWith is Start with something that is to be done before the prewarm commands, which may need it; its context ends when the sandbox does.
func (e *Engine) StartWith(ctx context.Context, id string, t *Prepared, labels map[string]string, equip func(context.Context) error) (Phases, error) {
	var took Phases
	end := newEndWatch(ctx)
	defer end.stop()
	err := e.calls.Do(ctx, e.cfg.StartTimeout, on("start", "", id), func(ctx context.Context) (err error) {
		took, err = e.start(ctx, id, t, labels, end)
		return err
	})
	if err != nil {
		return took, err
	}
	lap := call.NewLap()
	err = atStep(StepNetwork, "", e.blame(ctx, id, end.explain(equip(end.ctx))))
	if err == nil {
		err = atStep(StepPrewarm, "", e.blame(ctx, id, end.explain(e.prewarm(end.ctx, id, t))))
	}
	took.Dependencies = lap.End(ctx, "dependencies")
	if err != nil {
		return took, err
	}
	err = e.blame(ctx, id, end.explain(e.awaitReady(end.ctx, id, t)))
	took.Ready = lap.End(ctx, "ready")
	return took, atStep(StepReady, "", err)
}

func (e *Engine) start(ctx context.Context, id string, t *Prepared, labels map[string]string, end *endWatch) (took Phases, _ error) {
	lap := call.NewLap()
	root, err := e.create(ctx, id, t, labels)
	if err != nil {
		return took, atStep(StepCreate, "create container", err)
	}
	took.Image = lap.End(ctx, "image")
	if err := e.createTask(ctx, id, root); err != nil {
		return took, atStep(StepStart, "create task", err)
	}
	e.cfg.Step("task created")
	if err := e.startTask(ctx, id); err != nil {
		return took, atStep(StepStart, "start task", err)
	}
	e.cfg.Step("task started")
	took.Sentry = lap.End(ctx, "sentry")
	end.begin(e, id, t)
	var said command.LastWords
	err = e.begin(ctx, id, t, &said)
	if err != nil {
		err = withOutput(e.whyEnded(ctx, id, t.command, err), &said)
		if said.End() == "" { // the watch may have been told first, and the sandbox was gone then
			err = end.explain(err)
		}
	}
	took.UserSpace = lap.End(ctx, "user_space")
	return took, atStep(StepProbe, "", err)
}

// begin gives a new sandbox its names, and lets its command start. That this runs is a probe, too. It says what a command that has
// ended already wrote last.
func (e *Engine) begin(ctx context.Context, id string, t *Prepared, said *command.LastWords) error {
	s, err := e.sandbox(ctx, id)
	if err != nil {
		return err
	}
	args := []string{template.InitPath, "begin"}
	if s.commands.Flags["network"] == "none" {
		args = append(args, t.Begin())
	}
	if err := e.mustSucceed(ctx, id, ExecSpec{Args: args, Cwd: "/", Root: true, Stderr: said}); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// probe shows that a sandbox schedules processes and that exec reaches it.
func (e *Engine) probe(ctx context.Context, id string) error {
	if err := e.runInit(ctx, id, "ready"); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// create makes a sandbox's container and what it owns. It returns the mounts of its root file system.
func (e *Engine) create(ctx context.Context, id string, t *Prepared, labels map[string]string) ([]mount.Mount, error) {
	nic := e.owned.NIC(id, labels)
	files, err := e.ownFiles(id, t, nic)
	if err != nil {
		return nil, err
	}
	record, err := e.record(id, t, labels, nic)
	if err != nil {
		return nil, err
	}
	if _, err := e.client.ContainerService().Create(ctx, record); err != nil {
		return nil, call.Native(err)
	}
	e.cfg.Step("container created")
	owned := resource.Spec{ID: id, Parent: t.parent, Files: files, NIC: nic}
	if err := e.owned.Make(ctx, &owned); err != nil {
		return nil, err
	}
	e.openSandbox(id, t.spec.Process, t.shim.Flags)
	return owned.Root, nil
}

// record is what containerd is to know of a sandbox.
func (e *Engine) record(id string, t *Prepared, labels map[string]string, nic string) (containers.Container, error) {
	spec, err := typeurl.MarshalAny(template.SandboxSpec(t.spec, e.cfg.Namespace, id, nic))
	if err != nil {
		return containers.Container{}, fmt.Errorf("encode spec: %w", err)
	}
	options, err := typeurl.MarshalAny(&runtimeoptions.Options{TypeUrl: runsc.ShimOptions, ConfigPath: e.cfg.sandboxFile(id, shimSuffix)})
	if err != nil {
		return containers.Container{}, fmt.Errorf("encode the shim's options: %w", err)
	}
	return containers.Container{
		ID: id, Labels: labels, Image: t.image, Spec: spec,
		Snapshotter: e.cfg.Snapshotter, SnapshotKey: id,
		Runtime: containers.RuntimeInfo{Name: e.info.Shim, Options: options},
	}, nil
}

// createTask has a container's shim and sentry started, which startTask lets run.
func (e *Engine) createTask(ctx context.Context, id string, root []mount.Mount) error {
	_, err := e.client.TaskService().Create(ctx, &tasksapi.CreateTaskRequest{ContainerID: id, Rootfs: mount.ToProto(root)})
	return call.Native(err)
}

func (e *Engine) startTask(ctx context.Context, id string) error {
	_, err := e.client.TaskService().Start(ctx, &tasksapi.StartRequest{ContainerID: id})
	return call.Native(err)
}

// Pause freezes a running sandbox.
func (e *Engine) Pause(ctx context.Context, id string) error {
	return e.calls.Do(ctx, e.cfg.PauseTimeout, on("pause", "", id), func(ctx context.Context) error {
		return e.pauses.Pause(ctx, id)
	})
}

// Resume lets a paused sandbox go on.
func (e *Engine) Resume(ctx context.Context, id string) error {
	return e.calls.Do(ctx, e.cfg.PauseTimeout, on("resume", "", id), func(ctx context.Context) error {
		return e.pauses.Resume(ctx, id)
	})
}

// Label writes labels of a sandbox's container; containerd syncs them to disk before it answers. Other labels stay.
func (e *Engine) Label(ctx context.Context, id string, labels map[string]string) error {
	return e.calls.Do(ctx, e.cfg.PauseTimeout, on("label", "", id), func(ctx context.Context) error {
		paths := make([]string, 0, len(labels))
		for key := range maps.Keys(labels) {
			paths = append(paths, "labels."+key)
		}
		if len(paths) == 0 { // to containerd no path means all that a container has
			return nil
		}
		_, err := e.client.ContainerService().Update(ctx, containers.Container{ID: id, Labels: labels}, paths...)
		return err
	})
}
