package runtime

import (
	"context"
	"slices"
	"sync"
	"time"
)

// goferPatience is how long a sentry may outlive its gofer: when a sandbox ends, the gofer may be seen to end first.
const goferPatience = 500 * time.Millisecond

// gofers watches the gofers of running sandboxes. A sandbox whose gofer was killed has lost its files, but runsc and
// containerd go on calling it running or paused.
type gofers struct {
	died    func(id, reason string)
	turned  func(ctx context.Context, id string, to Status)
	watches sync.WaitGroup
}

// watch begins to watch the gofers of sandboxes that were started; it goes on until ctx ends.
func (g *gofers) watch(ctx context.Context, ids ...string) error {
	all, err := allProcesses()
	if err != nil {
		return err
	}
	for _, id := range ids {
		sentry, found := find(all, id, isSentry)
		if !found {
			continue // it has ended; containerd says so itself
		}
		gofer, found := find(all, id, isGofer)
		g.watches.Go(func() {
			if !found || gofer.await(ctx) == nil {
				g.report(ctx, id, sentry)
			}
		})
	}
	return nil
}

// report calls a sandbox dead whose gofer has ended, unless its sentry ends too.
func (g *gofers) report(ctx context.Context, id string, sentry process) {
	patience, cancel := context.WithTimeout(ctx, goferPatience)
	defer cancel()
	if sentry.await(patience) != nil && context.Cause(ctx) == nil {
		g.died(id, "its gofer ended: it was killed or crashed")
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
