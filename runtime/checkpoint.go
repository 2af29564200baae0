package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/go-runc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/call"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/resource"
	"sandpool/runtime/runsc"
)

// identityTime bounds how long a restored sandbox may take to get its identity: a start waits for it. It is more than its hooks may take.
const identityTime = 20 * time.Second

// Checkpoint writes a sandbox that is running or paused, and stays so, into the folder dir and returns what a restore needs.
// A sandbox that cannot be restored later is an error of class FailedPrecondition. After one of class DeadlineExceeded nobody
// knows what the sandbox does: it must be ended.
func (e *Engine) Checkpoint(ctx context.Context, id, dir string) (made checkpoint.Compatibility, err error) {
	err = e.calls.Do(ctx, e.cfg.CheckpointTimeout, on("checkpoint", "", id), func(ctx context.Context) error {
		made, err = e.checkpoint(ctx, id, dir)
		return err
	})
	return made, err
}

func (e *Engine) checkpoint(ctx context.Context, id, dir string) (checkpoint.Compatibility, error) {
	container, err := e.client.LoadContainer(ctx, id)
	if err != nil {
		return checkpoint.Compatibility{}, fmt.Errorf("load container: %w", err)
	}
	made, file, err := e.madeWith(id)
	if err != nil {
		return made, err
	}
	if file.Flags[runsc.FlagOverlay] == "none" {
		return made, errdefs.ErrFailedPrecondition.WithMessage("with the runsc flag overlay2=none what a sandbox writes to its files is not part of a checkpoint: leave the flag out")
	}
	spec, err := container.Spec(ctx)
	if err != nil {
		return made, fmt.Errorf("read spec: %w", err)
	}
	if err := e.couldRestore(made, spec); err != nil {
		return made, err
	}
	if err := writeSpec(spec, dir); err != nil {
		return made, err
	}
	command := runc.Runc{Command: e.runsc.Path, Root: string(e.cfg.runscRoot()), ExtraArgs: file.Args()}
	// It leaves a paused sandbox paused, too.
	return made, command.Checkpoint(ctx, id, &runc.CheckpointOpts{ImagePath: dir}, runc.LeaveRunning)
}

func writeSpec(spec *specs.Spec, dir string) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, specFile), data, 0o600)
}

// Restore makes the sandbox id go on from the checkpoint in dir, an absolute path, and returns when it runs. Nothing of its
// template is run again. What does not fit, or is gone, is an error of class FailedPrecondition. A sandbox whose restore
// failed must be destroyed.
func (e *Engine) Restore(ctx context.Context, id string, fit checkpoint.Compatibility, dir string, labels map[string]string) (took Phases, err error) {
	err = e.calls.Do(ctx, e.cfg.StartTimeout, on("restore", "", id), func(ctx context.Context) error {
		lap := call.NewLap()
		t, err := e.compatible(ctx, fit, dir)
		if err != nil {
			return err
		}
		root, err := e.create(ctx, id, t, labels)
		if err != nil {
			return fmt.Errorf("create container: %w", err)
		}
		e.cfg.Step("restore created")
		took.Image = lap.End(ctx, "image")
		if err := e.goOn(ctx, id, root, dir); err != nil {
			return err
		}
		took.Sentry = lap.End(ctx, "sentry")
		// That this runs is a probe, too.
		if err := e.identify(ctx, id); err != nil {
			return err
		}
		took.UserSpace = lap.End(ctx, "user_space")
		return nil
	})
	return took, err
}

// identify has a restored sandbox's init give it an identity of its own. What runs in it already may be slow or hostile.
func (e *Engine) identify(ctx context.Context, id string) error {
	return e.calls.Do(ctx, identityTime, on("identify", "", id), func(ctx context.Context) error {
		return e.runInitAsRoot(ctx, id, nil, "restored", id)
	})
}

// couldRestore tells of a sandbox from before an update or another configuration that it could not be restored here.
func (e *Engine) couldRestore(made checkpoint.Compatibility, spec *specs.Spec) error {
	t := &Prepared{}
	if err := e.follow(t, spec); err != nil {
		return err
	}
	now, err := e.compatibilityNow(t)
	if err != nil {
		return err
	}
	now.Image, now.ImageDigest, now.Layers, now.Spec = made.Image, made.ImageDigest, made.Layers, made.Spec
	return made.Check(now)
}

// Halt ends the processes of a sandbox, by force if it must be, but keeps its container. A halted sandbox is no error.
func (e *Engine) Halt(ctx context.Context, id string) error {
	if err := e.end(ctx, "halt", id, e.halt); err != nil {
		return err
	}
	e.cfg.Step("halted")
	return nil
}

// Revive makes a halted sandbox go on from a checkpoint of its own in dir, an absolute path; see Restore for its errors. A
// sandbox whose revival failed must be halted before the next one.
func (e *Engine) Revive(ctx context.Context, id string, fit checkpoint.Compatibility, dir string) error {
	return e.calls.Do(ctx, e.cfg.StartTimeout, on("revive", "", id), func(ctx context.Context) error {
		t, err := e.compatible(ctx, fit, dir)
		if err != nil {
			return err
		}
		if _, err := e.taskStatus(ctx, id); !errdefs.IsNotFound(err) {
			return errors.Join(err, errdefs.ErrFailedPrecondition.WithMessage("it is not halted"))
		}
		record, err := e.client.ContainerService().Get(ctx, id)
		if err != nil {
			return fmt.Errorf("load container: %w", err)
		}
		nic := e.owned.NIC(id, record.Labels)
		files, err := e.ownFiles(id, t, nic)
		if err != nil {
			return err
		}
		owned := resource.Spec{ID: id, Parent: t.parent, Files: files, NIC: nic}
		if err := e.owned.Renew(ctx, &owned); err != nil {
			return err
		}
		e.drop(id)
		if err := e.goOn(ctx, id, owned.Root, dir); err != nil {
			return err
		}
		e.cfg.Step("revived")
		return e.probe(ctx, id)
	})
}

// goOn starts the task of a container from the checkpoint in dir.
func (e *Engine) goOn(ctx context.Context, id string, root []mount.Mount, dir string) error {
	if err := e.writeRestoreFiles(id, dir); err != nil {
		return err
	}
	if err := e.createTask(ctx, id, root); err != nil {
		return fmt.Errorf("create task: %w", err)
	}
	if err := e.startTask(ctx, id); err != nil {
		return fmt.Errorf("start task: %w", err)
	}
	e.cfg.Step("restore started")
	return e.settleRestoreFiles(id)
}
