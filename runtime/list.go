package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"sandpool/runtime/call"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/runsc"
)

const (
	// askEvery is how often containerd is asked about a sandbox that shows no change.
	askEvery = 10 * time.Minute
	// askAtOnce is about how many of them a listing asks at most: for each answer the stock shim starts three processes.
	askAtOnce = 6
)

// Listed is one container of the engine's namespace.
type Listed struct {
	ID       string
	Labels   map[string]string
	Status   Status
	Promised bool   // see Promise
	Reason   string // how it ended, if that is known
}

// looks is what listings have seen of the sandboxes.
type looks struct {
	mu sync.Mutex
	of map[string]look // replaced as a whole
}

// look is what was seen of one sandbox, and what followed from it. That stays true until something else is seen.
type look struct {
	noted        runsc.Version
	sentry, shim hostproc.Process
	alive        bool // both

	status Status
	reason string
	asked  time.Time // when containerd said so, or when the sandbox was first seen
}

// List returns all containers of the namespace. What it costs follows from what has changed since the last time: of a sandbox that
// shows no change the file of runsc and two processes are looked at, and now and then containerd is asked.
func (e *Engine) List(ctx context.Context) ([]Listed, error) {
	var listed []Listed
	err := e.calls.Do(ctx, e.cfg.PauseTimeout, call.Op{Verb: "list", Object: "sandboxes"}, func(ctx context.Context) error {
		found, err := e.client.ContainerService().List(ctx)
		if err != nil {
			return err
		}
		found = slices.DeleteFunc(found, func(c containers.Container) bool { return e.isHidden(c.ID) })
		seen, err := e.lookAt(ctx, found)
		if err != nil {
			return err
		}
		for _, c := range found {
			l := seen[c.ID]
			listed = append(listed, Listed{ID: c.ID, Labels: c.Labels, Status: l.status, Promised: e.isPromised(c.ID), Reason: l.reason})
		}
		return nil
	})
	return listed, err
}

// lookAt looks at sandboxes, remembers what it saw and forgets all others.
func (e *Engine) lookAt(ctx context.Context, found []containers.Container) (map[string]look, error) {
	before := e.looks.last()
	due := due(before, found, time.Now())
	processes := sync.OnceValues(hostproc.List)
	now := make(map[string]look, len(found))
	for _, c := range found {
		was, known := before[c.ID]
		if !known {
			was.asked = time.Now()
		}
		l, err := e.look(ctx, c.ID, was, processes)
		if err == nil && (l.status == "" || due[c.ID]) {
			l.asked = time.Now()
			l.status, l.reason, err = e.askStatus(ctx, c.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.ID, err)
		}
		now[c.ID] = l
	}
	e.looks.keep(now)
	e.dropAllBut(now)
	return now, nil
}

// last is what the last listing saw, which stays as it is.
func (l *looks) last() map[string]look {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of
}

func (l *looks) keep(seen map[string]look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of = seen
}

// due returns those whose turn it is to have containerd asked.
func due(before map[string]look, found []containers.Container, now time.Time) map[string]bool {
	var ids []string
	for _, c := range found {
		if was, known := before[c.ID]; known && now.Sub(was.asked) >= askEvery {
			ids = append(ids, c.ID)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(before[a].asked.Compare(before[b].asked), cmp.Compare(a, b)) })
	due := map[string]bool{}
	for _, id := range ids[:min(len(ids), askAtOnce)] {
		due[id] = true
	}
	return due
}

// look looks at a sandbox. It returns no status when only containerd can tell.
func (e *Engine) look(ctx context.Context, id string, was look, processes func() (hostproc.Table, error)) (look, error) {
	root := e.cfg.runscRoot()
	noted, err := root.Version(id)
	if err != nil {
		return was, err
	}
	alive := was.sentry.Alive() && was.shim.Alive()
	if was.status != "" && noted == was.noted && alive == was.alive {
		return was, nil
	}
	said, noted, err := root.Status(ctx, id, !alive || was.status == "")
	if errors.Is(err, runsc.ErrBusy) {
		return was, nil // what changes just now is for the next listing
	}
	if err != nil {
		return was, err
	}
	status := statusFrom(said)
	now := look{noted: noted, sentry: was.sentry, shim: was.shim, alive: alive, status: status, asked: was.asked}
	if status != Stopped && !alive {
		all, err := processes()
		if err != nil {
			return was, err
		}
		var hasSentry, hasShim bool
		now.sentry, hasSentry = all.Find(id, hostproc.Sentry)
		now.shim, hasShim = all.Find(id, hostproc.Shim)
		now.alive = hasSentry && hasShim
	}
	if status == Stopped || !now.alive {
		now.status = ""
	}
	return now, nil
}

// askStatus asks containerd what became of a sandbox's task, and how it ended.
func (e *Engine) askStatus(ctx context.Context, id string) (_ Status, reason string, _ error) {
	task, err := e.task(ctx, id)
	switch {
	case errdefs.IsUnavailable(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "", "", err
	case err != nil: // there is none, or its shim is broken: in both cases nothing that could be used
		return Stopped, "", nil
	}
	switch task.GetStatus() {
	case tasktypes.Status_RUNNING:
		return Running, "", nil
	case tasktypes.Status_PAUSED:
		return Paused, "", nil
	case tasktypes.Status_STOPPED:
		return Stopped, e.ending(id, task.GetExitStatus()).death().Reason, nil
	default:
		return Stopped, "", nil
	}
}
