package runtime

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"
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
	process
	pidfd *os.File
}

func newWatches(e *Engine, died func(id string, d Death), turned func(ctx context.Context, id string, to Status)) *watches {
	return &watches{engine: e, died: died, turned: turned, sentries: map[string]heldSentry{}, starved: map[string]bool{}}
}

// watch begins to watch sandboxes that were started; it goes on until ctx ends.
func (g *watches) watch(ctx context.Context, ids ...string) error {
	all, err := allProcesses()
	if err != nil {
		return err
	}
	for _, id := range ids {
		sentry, found := find(all, id, isSentry)
		if !found {
			continue // it has ended; containerd says so itself
		}
		g.hold(id, sentry)
		gofer, found := find(all, id, isGofer)
		g.under.Go(func() {
			if !found || gofer.await(ctx) == nil {
				g.report(ctx, id, sentry)
			}
		})
	}
	return nil
}

// hold keeps the sentry of a sandbox open until its end was told. Without that its death has a less certain cause.
func (g *watches) hold(id string, sentry process) {
	g.letGo(id)
	if file, err := sentry.open(); err == nil && file != nil {
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
	g.under.Go(func() {
		end := g.engine.ending(id, status)
		if held {
			end.sentry = exitOf(sentry.pidfd, sentryPatience)
			_ = sentry.pidfd.Close()
			if hasAnother(id, sentry.process) {
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
func hasAnother(id string, sentry process) bool {
	all, err := allProcesses()
	if err != nil {
		return false
	}
	now, found := find(all, id, isSentry)
	return found && (now.pid != sentry.pid || now.started != sentry.started)
}

// report calls a sandbox dead whose gofer has ended, unless its sentry ends too.
func (g *watches) report(ctx context.Context, id string, sentry process) {
	patience, cancel := context.WithTimeout(ctx, goferPatience)
	defer cancel()
	if sentry.await(patience) == nil || context.Cause(ctx) != nil {
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

// find returns the process of a kind that serves the sandbox id.
func find(all []process, id string, kind servant) (process, bool) {
	at := slices.IndexFunc(all, func(p process) bool { return serves(p.args, id) && kind(p.args) })
	if at < 0 {
		return process{}, false
	}
	return all[at], true
}

// Alive tells whether the sentry of a sandbox has not ended. It needs no answer from containerd, which hears of an end later.
func (e *Engine) Alive(id string) bool {
	all, err := allProcesses()
	if err != nil {
		return true
	}
	_, found := find(all, id, isSentry)
	return found
}
