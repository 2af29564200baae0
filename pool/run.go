package pool

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sandpool/lifetime/wait"
)

const (
	// failFast is how many starts must fail in a row before claims are refused at once instead of waiting.
	failFast = 3
	// idle is how long the loop sleeps when nothing is due.
	idle = time.Minute
	// admitEvery is how often a pool that may start nothing looks again whether it may.
	admitEvery = time.Second
)

// retries are the pauses between starts that fail, and between attempts to destroy one sandbox.
var retries = wait.Backoff{First: 200 * time.Millisecond, Last: 30 * time.Second}

// Run starts and destroys sandboxes until ctx ends. Starts that are under way then are broken off and cleaned up;
// all other sandboxes stay as they are.
func (c *Controller) Run(ctx context.Context) {
	c.loop.Run(ctx, func() time.Duration { return c.schedule(ctx) })
	c.workers.Wait()
	c.finish(context.WithoutCancel(ctx))
}

// schedule sets workers to all that is due and returns how long until something else may be.
func (c *Controller) schedule(ctx context.Context) time.Duration {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	detached := context.WithoutCancel(ctx)
	next := c.clearLocked(detached, now)
	if c.outage != nil {
		return next.Sub(now) // nothing else is done; SetOutage wakes the loop
	}
	for _, p := range c.pools {
		c.shrinkLocked(p, now)
		c.heatLocked(detached, p, now)
		next = earlier(next, earlier(p.sweepAt, p.nextStale(now)))
	}
	return earlier(next, c.refillLocked(ctx, now)).Sub(now)
}

// shrinkLocked dooms what p has too much: what a sweep drains, what is too old, and what a successor is ready for.
func (c *Controller) shrinkLocked(p *pool, now time.Time) {
	if !p.sweepAt.After(now) {
		p.sweepAt = now.Add(sweepEvery)
		c.dropLocked(p, p.sweepLocked(now), now)
	}
	excess := p.count(Available, Hot, Reserved, Claimed) - p.size
	for _, s := range p.readyOnes() {
		switch {
		case s.expired(now):
			c.terminateLocked(s, "it reached its maximum age")
		case s.stale(now) && excess > 0:
			c.terminateLocked(s, "it was replaced")
		default:
			continue
		}
		excess--
	}
}

// dropLocked dooms n ready sandboxes, those first that are to be replaced anyway, then the oldest.
func (c *Controller) dropLocked(p *pool, n int, now time.Time) {
	for _, stale := range []bool{true, false} {
		for _, s := range p.readyOnes() {
			if n > 0 && s.stale(now) == stale {
				n--
				c.terminateLocked(s, "the pool is larger than it need be")
			}
		}
	}
}

// readyOnes returns what could be handed out, the oldest first.
func (p *pool) readyOnes() []*sandbox {
	var ready []*sandbox
	for _, s := range p.sandboxes {
		if s.state == Available || s.state == Hot {
			ready = append(ready, s)
		}
	}
	slices.SortFunc(ready, func(a, b *sandbox) int { return cmp.Compare(a.added, b.added) })
	return ready
}

// nextStale is when a ready sandbox of p will have to be replaced or dropped.
func (p *pool) nextStale(now time.Time) time.Time {
	next := now.Add(idle)
	for _, s := range p.sandboxes {
		if p.MaxAge == 0 || s.state != Available && s.state != Hot {
			continue
		}
		for _, age := range []time.Duration{p.refreshAge(), p.MaxAge} {
			if at := s.record.CreatedAt.Add(age); at.After(now) {
				next = earlier(next, at)
			}
		}
	}
	return next
}

// heatLocked resumes or pauses ready sandboxes until as many run as the pool wants hot.
func (c *Controller) heatLocked(ctx context.Context, p *pool, now time.Time) {
	for lack := p.hotLack(); lack != 0; {
		state, step := Available, -1
		if lack < 0 {
			state, step = Hot, 1
		}
		s := p.oldest(state, now)
		if s == nil || c.moveLocked(s, Warming) != nil {
			return
		}
		lack += step
		s.heating = state == Available
		c.workers.Go(func() { c.settle(ctx, s) })
	}
}

// hotLack is how many sandboxes should run but do not.
func (p *pool) hotLack() int {
	return p.Hot - countOf(p.sandboxes, func(s *sandbox) bool { return s.state == Hot || s.state == Warming && s.heating })
}

// clearLocked sets workers to destroy what is doomed and to write down what died. It returns when to try again.
func (c *Controller) clearLocked(ctx context.Context, now time.Time) time.Time {
	next := now.Add(idle)
	destroying := countOf(c.sandboxes, func(s *sandbox) bool { return s.busy && s.state == Terminating })
	for _, s := range c.sandboxes {
		switch {
		case s.busy:
		case s.retryAt.After(now):
			next = earlier(next, s.retryAt)
		case s.state == Terminating && destroying < c.destroys():
			destroying++
			s.busy = true
			c.workers.Go(func() { c.destroy(ctx, s) })
		case s.state == Dead && s.unsaved:
			s.busy = true
			c.workers.Go(func() { c.save(ctx, s) })
		}
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
