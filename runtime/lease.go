package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"sandpool/runtime/hostproc"
)

const (
	leasePrefix = "sandpool-"
	// leaseTime outlives every start; containerd drops what a killed daemon left after it.
	leaseTime = time.Hour
	// cleanupTimeout bounds clean-up that is done after its caller gave up.
	cleanupTimeout = 10 * time.Second
)

// lease protects what is made for the sandbox id from containerd's garbage collection until release is called.
func (e *Engine) lease(ctx context.Context, id string) (_ context.Context, release func(), _ error) {
	manager := e.client.LeasesService()
	l, err := manager.Create(ctx, leases.WithID(leasePrefix+id), leases.WithExpiration(leaseTime))
	if err != nil {
		return nil, nil, fmt.Errorf("create lease: %w", err)
	}
	e.cfg.Step("lease created")
	return leases.WithLease(ctx, l.ID), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if err := manager.Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			e.log.Warn("lease could not be deleted; it expires by itself", "lease", l.ID, "err", err)
		}
	}, nil
}

// Sweep removes what belongs to no container and to no sandbox that live tells of: leases, tasks, snapshots, cgroups and
// files that an interrupted start or destroy left. It goes by what is this daemon's alone: its containerd and its state folder. live must know a sandbox from before its start until after its end.
func (e *Engine) Sweep(ctx context.Context, live func(id string) bool) error {
	if err := e.sweepPipes(e.cfg.StartTimeout); err != nil {
		return err
	}
	return e.call(ctx, e.cfg.StartTimeout, "sweep", func(ctx context.Context) error {
		// First what may be left over, then what is in use: what was made in between is in both.
		orphans, err := e.candidates(ctx)
		if err != nil {
			return err
		}
		containers, err := e.client.ContainerService().List(ctx)
		if err != nil {
			return fmt.Errorf("list containers: %w", err)
		}
		for _, c := range containers {
			delete(orphans, c.ID)
		}
		var errs []error
		for id, lease := range orphans {
			if !live(id) && !e.isHidden(id) {
				errs = append(errs, e.remove(ctx, id, lease))
			}
		}
		return errors.Join(errs...)
	})
}

// candidates returns the ids of all leases, tasks, snapshots and other traces that are named as a sandbox's, and the lease of each.
func (e *Engine) candidates(ctx context.Context) (map[string]string, error) {
	found := map[string]string{}
	tasks, err := e.client.TaskService().List(ctx, &tasksapi.ListTasksRequest{})
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	for _, t := range tasks.GetTasks() {
		if idPattern.MatchString(t.GetID()) {
			found[t.GetID()] = ""
		}
	}
	err = e.client.SnapshotService(e.cfg.Snapshotter).Walk(ctx, func(_ context.Context, s snapshots.Info) error {
		if idPattern.MatchString(s.Name) {
			found[s.Name] = ""
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	all, err := e.client.LeasesService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	for _, l := range all {
		if id, ok := strings.CutPrefix(l.ID, leasePrefix); ok && idPattern.MatchString(id) {
			found[id] = l.ID
		}
	}
	// Cgroups are not asked: they may be another daemon's, and a sandbox's files here outlive them.
	traces, err := e.runscTraces("sb-*")
	if err != nil {
		return nil, err
	}
	pid, err := e.containerdPID(ctx)
	if err != nil {
		return nil, err
	}
	forgotten, err := e.bundleTraces(hostproc.Root(pid), "sb-*")
	if err != nil {
		return nil, err
	}
	files, err := e.cfg.sandboxFiles("sb-*")
	if err != nil {
		return nil, err
	}
	for _, path := range slices.Concat(traces, forgotten, files) {
		if id := anyID.FindString(filepath.Base(path)); id != "" && found[id] == "" {
			found[id] = ""
		}
	}
	return found, nil
}

func (e *Engine) remove(ctx context.Context, id, lease string) error {
	e.log.Info("left-over sandbox is removed", "sandbox", id)
	if err := e.Destroy(ctx, id); err != nil {
		return err
	}
	if lease == "" {
		return nil
	}
	if err := e.client.LeasesService().Delete(ctx, leases.Lease{ID: lease}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete lease %s: %w", lease, err)
	}
	return nil
}
