package pool

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken")

// walk drives a controller with random events in virtual time, and checks after each what must always hold.
type walk struct {
	*rig
	t      *testing.T
	random *rand.Rand
	ctx    context.Context

	mu      sync.Mutex
	claims  []Claim
	owners  map[string]string // claim by sandbox, over the whole walk
	clients sync.WaitGroup
}

// TestRandomWalk takes a hundred thousand steps. A failure names the seed that repeats its choices.
func TestRandomWalk(t *testing.T) {
	const walks, steps = 20, 5_000
	for range walks {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			walkOnce(t, seed, steps)
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func walkOnce(t *testing.T, seed uint64, steps int) {
	w := &walk{t: t, random: rand.New(rand.NewPCG(seed, 1)), ctx: t.Context(), owners: map[string]string{}}
	cfg := onePool(6, 16)
	cfg.Min, cfg.Hot, cfg.MaxAge, cfg.Adaptive = 2, w.random.IntN(3), 10*time.Minute, w.random.IntN(2) == 0
	generic := onePool(2, 4)
	generic.Name, generic.Template = "local:generic", Generic
	backend := newFakeBackend(t)
	faults := rand.New(rand.NewPCG(seed, 2))
	backend.fail = func(call, _ string) error {
		if faults.IntN(50) == 0 {
			return errBroken
		}
		return nil
	}
	w.rig = newRig(t, backend, cfg, generic)
	w.run(t)
	for range steps {
		w.step()
		time.Sleep(time.Duration(w.random.IntN(200)) * time.Millisecond)
		w.check()
	}
	w.clients.Wait()
	backend.locked(func() { backend.fail = nil })
	for _, c := range w.Claims() {
		if err := w.Release(w.ctx, c.ID); err != nil {
			t.Error(err)
		}
	}
	settled()
	w.checkRest()
	w.stop()
}

// step does one random thing.
func (w *walk) step() {
	switch n := w.random.IntN(100); {
	case n < 45:
		req := request()
		req.Fallback, req.Cold = w.random.IntN(4) == 0, w.random.IntN(10) == 0
		req.Wait = time.Duration(w.random.IntN(3)) * time.Second
		if w.random.IntN(5) == 0 {
			req.RequestID = string(rune('a' + w.random.IntN(5)))
		}
		patience := time.Duration(1+w.random.IntN(2000)) * time.Millisecond
		w.clients.Go(func() { w.claim(req, patience) })
	case n < 85:
		if claim, ok := w.take(); ok {
			w.clients.Go(func() { _ = w.Release(w.ctx, claim.ID) }) // it may have ended already
		}
	case n < 90:
		ids := slices.Sorted(maps.Keys(w.backend.ids()))
		if len(ids) > 0 {
			id := ids[w.random.IntN(len(ids))]
			w.backend.end(id)
			w.Died(id, "killed")
		}
	case n < 94:
		w.clients.Go(func() { _, _ = w.Reconcile(w.ctx, w.backend.list) })
	case n < 96:
		if claim, ok := w.take(); ok {
			w.End(claim.ID, expired)
		}
	case n < 98:
		suspend := w.random.IntN(2) == 0
		if claim, ok := w.take(); ok {
			w.clients.Go(func() { w.rest(claim, suspend) })
		}
	default:
		target := w.random.IntN(10)
		_ = w.Resize("default", func(s *Size) { s.Min, s.Target, s.Hold = min(s.Min, target), target, w.random.IntN(4) == 0 })
	}
}

func (w *walk) claim(req Request, patience time.Duration) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	claim, repeated, err := w.Claim(ctx, req)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if other, taken := w.owners[claim.Sandbox]; taken && other != claim.ID {
		w.t.Errorf("sandbox %s was given to %s and to %s", claim.Sandbox, other, claim.ID)
	}
	w.owners[claim.Sandbox] = claim.ID
	if !repeated {
		w.claims = append(w.claims, claim)
	}
}

// rest does what is done to a claim while its owner has it: uses, extensions, pauses, and writing it to disk.
func (w *walk) rest(claim Claim, suspend bool) {
	ctx := w.ctx
	save := func(context.Context, Claim) (string, error) { return "ck-" + claim.ID, nil }
	_, _ = w.Extend(ctx, claim.ID, 0)
	if w.Pause(ctx, claim.ID) == nil && suspend {
		_ = w.Suspend(ctx, claim.ID, save)
	}
	if used, done, err := w.Use(ctx, claim.ID); err == nil {
		if used.Rest != Awake {
			w.t.Errorf("used claim %s is %s", claim.ID, used.Rest)
		}
		done()
	}
	_ = w.Retire(ctx, claim.ID, save)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims = append(w.claims, claim)
}

// take picks a claim that somebody holds.
func (w *walk) take() (Claim, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.claims) == 0 {
		return Claim{}, false
	}
	i := w.random.IntN(len(w.claims))
	claim := w.claims[i]
	w.claims = slices.Delete(w.claims, i, i+1)
	return claim, true
}

// check looks at what must hold at every moment.
func (w *walk) check() {
	w.Controller.mu.Lock()
	defer w.Controller.mu.Unlock()
	now := time.Now()
	for _, p := range w.pools {
		c := p.counts(now)
		if live := c.Total() + c.Warming; live > p.Max {
			w.t.Errorf("pool %s has %d sandboxes, over its maximum of %d", p.Name, live, p.Max)
		}
		if p.size > p.Max || p.size < 0 {
			w.t.Errorf("pool %s wants %d sandboxes", p.Name, p.size)
		}
	}
	for id, s := range w.Controller.claims {
		if s.state != Claimed && s.state != Dead || s.record.Grant.ID != id {
			w.t.Errorf("claim %s has a sandbox in state %s of claim %s", id, s.state, s.record.Grant.ID)
		}
	}
}

// checkRest looks at what must hold when nothing has moved for a while.
func (w *walk) checkRest() {
	if n := len(w.Claims()); n != 0 {
		w.t.Errorf("%d claims are left", n)
	}
	if n := len(w.deadlines.at); n != 0 {
		w.t.Errorf("%d deadlines are left", n)
	}
	known := 0
	for _, s := range w.Status() {
		known += s.Total
		if s.InUse != 0 || s.Warming != 0 || s.Waiting != 0 || !s.Hold && s.Available < s.Min {
			w.t.Errorf("at rest: %+v", s)
		}
	}
	if n := len(w.backend.ids()); n != known {
		w.t.Errorf("%d sandboxes exist, the pools know of %d", n, known)
	}
}
