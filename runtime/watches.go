package runtime

import (
	"context"
	"os"
	"sync"
	"time"

	"sandpool/runtime/hostproc"
)

// goferPatience is how long a sentry may outlive its gofer: when a sandbox ends, the gofer may be seen to end first.
const goferPatience = 500 * time.Millisecond

// sentryPatience is how long the kernel may take to tell of a sentry whose task has ended: the shim may not have reaped it yet.
const sentryPatience = time.Second

// watches watches the sentries and gofers of running sandboxes. A sandbox whose gofer was killed has lost its files, but runsc
// and containerd go on calling it running or paused.
type watches struct {
	engine *Engine
	died   func(id string, d Death)
	turned func(ctx context.Context, id string, to Status)
	under  sync.WaitGroup

	// What follows belongs to the goroutine that reads the events.
	sentries map[string]heldSentry
	starved  map[string]bool // sandboxes that containerd said had too little memory
}

// heldSentry is a sentry that is held open: the kernel tells how a process ended to who had it open before.
type heldSentry struct {
	hostproc.Process

	pidfd *os.File
}

func newWatches(e *Engine, died func(id string, d Death), turned func(ctx context.Context, id string, to Status)) *watches {
	return &watches{engine: e, died: died, turned: turned, sentries: map[string]heldSentry{}, starved: map[string]bool{}}
}

// watch begins to watch sandboxes that were started; it goes on until ctx ends.
func (g *watches) watch(ctx context.Context, ids ...string) error {
	all, err := g.engine.servants(ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		sentry, found := all.Find(id, hostproc.Sentry)
		if !found {
			continue // it has ended; containerd says so itself
		}
		g.hold(id, sentry)
		gofer, found := all.Find(id, hostproc.Gofer)
		if shim, has := all.Find(id, hostproc.Shim); has && found {
			g.engine.handles.served(id, hostproc.Table{sentry, gofer, shim})
		}
		g.under.Go(func() {
			if !found || gofer.Await(ctx) == nil {
				g.report(ctx, id, sentry)
			}
		})
	}
	return nil
}

// servants returns the processes of sandboxes, and maybe others. Those of one alone are found by runsc's notes: its shim is the parent that
// a sentry has once the runsc that made it has ended.
func (e *Engine) servants(ids []string) (hostproc.Table, error) {
	switch len(ids) {
	case 0:
		return nil, nil
	case 1:
	default:
		return hostproc.List()
	}
	state, err := e.cfg.runscRoot().State(ids[0])
	if err != nil {
		return hostproc.List()
	}
	sentry, _ := hostproc.Look(state.Sandbox.PID)
	gofer, _ := hostproc.Look(state.GoferPID)
	shim, _ := sentry.Parent()
	found := hostproc.Table{sentry, gofer, shim}
	for at, role := range []hostproc.Role{hostproc.Sentry, hostproc.Gofer, hostproc.Shim} {
		if !found[at].Serves(ids[0]) || found[at].Role() != role {
			return hostproc.List()
		}
	}
	return found, nil
}

// hold keeps the sentry of a sandbox open until its end was told. Without that its death has a less certain cause.
func (g *watches) hold(id string, sentry hostproc.Process) {
	g.letGo(id)
	if file, err := sentry.Open(); err == nil && file != nil {
		g.sentries[id] = heldSentry{sentry, file}
	}
}

func (g *watches) letGo(id string) {
	if sentry, held := g.sentries[id]; held {
		_ = sentry.pidfd.Close()
	}
	delete(g.sentries, id)
}

// exited tells of the end of a task as soon as it is known how that came, unless its sandbox has been revived by then.
func (g *watches) exited(id string, status uint32) {
	sentry, held := g.sentries[id]
	starved := g.starved[id]
	delete(g.sentries, id)
	delete(g.starved, id)
	if g.engine.handles.isEnding(id) { // and has no other either
		if held {
			_ = sentry.pidfd.Close()
		}
		g.under.Go(func() { g.died(id, ending{status: int(status)}.death()) })
		return
	}
	g.under.Go(func() {
		end := g.engine.ending(id, status)
		if held {
			end.sentry = hostproc.Exit(sentry.pidfd, sentryPatience)
			_ = sentry.pidfd.Close()
			if g.engine.hasAnother(id, sentry.Process) {
				return
			}
		}
		if end.memory == "" && starved {
			end.memory = "it was killed for lack of memory"
		}
		g.died(id, end.death())
	})
}

// hasAnother tells whether the sandbox has a sentry, but another one than that.
func (e *Engine) hasAnother(id string, sentry hostproc.Process) bool {
	state, err := e.cfg.runscRoot().State(id)
	if err != nil {
		return false
	}
	now, found := hostproc.Look(state.Sandbox.PID)
	return found && now.Serves(id) && !now.Is(sentry)
}

// report calls a sandbox dead whose gofer has ended, unless its sentry ends too.
func (g *watches) report(ctx context.Context, id string, sentry hostproc.Process) {
	patience, cancel := context.WithTimeout(ctx, goferPatience)
	defer cancel()
	if sentry.Await(patience) == nil || context.Cause(ctx) != nil {
		return
	}
	if memory := g.engine.memoryDeath(id); memory != "" {
		g.died(id, Death{CauseMemory, memory})
	} else {
		g.died(id, Death{CauseGofer, "its gofer ended: it was killed or crashed"})
	}
}

// close waits for what is under way; the context of the watches must have ended.
func (g *watches) close() {
	g.under.Wait()
	for id := range g.sentries {
		g.letGo(id)
	}
}

// Alive tells whether the sentry of a sandbox has not ended. It needs no answer from containerd, which hears of an end later.
func (e *Engine) Alive(id string) bool {
	return hostproc.Alive(id, hostproc.Sentry)
}
