package pool

import (
	"context"
	"slices"
	"time"
)

const (
	// failFast is how many starts must fail in a row before claims are refused at once instead of waiting.
	failFast = 3
	// firstRetry doubles with each failure in a row up to lastRetry.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 30 * time.Second
	// idle is how long the loop sleeps when nothing is due.
	idle = time.Minute
)

// Run starts and destroys sandboxes until ctx ends. Starts that are under way then are broken off and cleaned up;
// all other sandboxes stay as they are.
func (c *Controller) Run(ctx context.Context) {
	for {
		timer := time.NewTimer(c.schedule(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			c.workers.Wait()
			c.finish(context.WithoutCancel(ctx))
			return
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// RemoveAll destroys every sandbox, claimed ones too. It is for a daemon that stops, after Run has returned.
func (c *Controller) RemoveAll(ctx context.Context) {
	c.mu.Lock()
	for _, s := range c.sandboxes {
		c.doomLocked(s, "the daemon removes all")
	}
	c.mu.Unlock()
	c.finish(ctx)
}

// finish makes one last attempt at every doomed sandbox, those included whose start was broken off.
func (c *Controller) finish(ctx context.Context) {
	c.mu.Lock()
	defer c.workers.Wait()
	defer c.mu.Unlock()
	slots := make(chan struct{}, c.destroys())
	for _, s := range c.sandboxes {
		if s.state == Doomed {
			s.busy = true
			c.workers.Go(func() {
				slots <- struct{}{}
				c.destroy(ctx, s)
				<-slots
			})
		}
	}
}

// destroys is the most sandboxes that are destroyed at once.
func (c *Controller) destroys() int { return 2 * c.starts }

// schedule sets workers to all that is due and returns how long until something else may be.
func (c *Controller) schedule(ctx context.Context) time.Duration {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if context.Cause(ctx) != nil {
		return idle
	}
	next := now.Add(idle)
	destroying := 0
	for _, s := range c.sandboxes {
		if s.busy && s.state == Doomed {
			destroying++
		}
	}
	for _, s := range c.sandboxes {
		switch {
		case s.busy:
		case s.state == Doomed && s.retryAt.After(now):
			next = earlier(next, s.retryAt)
		case s.state == Doomed && destroying < c.destroys():
			destroying++
			s.busy = true
			c.workers.Go(func() { c.destroy(context.WithoutCancel(ctx), s) })
		case s.unsaved:
			s.busy = true
			c.workers.Go(func() { c.save(context.WithoutCancel(ctx), s) })
		}
	}
	if c.outage != nil {
		return next.Sub(now) // nothing is started; SetOutage wakes the loop
	}
	for _, p := range c.byNeedLocked() {
		next = earlier(next, c.refillLocked(ctx, p, now))
	}
	return next.Sub(now)
}

// byNeedLocked orders the pools: those that claims wait for first, then the emptiest.
func (c *Controller) byNeedLocked() []*pool {
	pools := make([]*pool, 0, len(c.pools))
	for _, p := range c.pools {
		pools = append(pools, p)
	}
	slices.SortFunc(pools, func(a, b *pool) int {
		if d := len(b.waiters) + len(b.cold) - len(a.waiters) - len(a.cold); d != 0 {
			return d
		}
		return a.count(Available) - b.count(Available)
	})
	return pools
}

// refillLocked starts what p lacks, as far as Max and the number of starts at once allow. It returns when to try again.
func (c *Controller) refillLocked(ctx context.Context, p *pool, now time.Time) time.Time {
	if p.retryAt.After(now) {
		return p.retryAt
	}
	starting := 0
	for _, s := range c.sandboxes {
		if s.state == Warming {
			starting++
		}
	}
	booked := 0
	for _, s := range p.sandboxes {
		if s.state == Warming && s.booked != nil {
			booked++
		}
	}
	lack := len(p.cold) + max(0, p.Target+len(p.waiters)-p.count(Available)-(p.count(Warming)-booked))
	n := min(lack, p.Max-p.total(), c.starts-starting)
	if p.failures > 0 {
		n = min(n, 1) // one trial at a time until one succeeds
	}
	for range n {
		s := c.addLocked(p, c.newID(), Record{State: Warming, Pool: p.Name, Fingerprint: p.Fingerprint, CreatedAt: now})
		if len(p.cold) > 0 {
			s.booked, p.cold = p.cold[0], p.cold[1:]
		}
		c.workers.Go(func() { c.warm(ctx, s) })
	}
	return now.Add(idle)
}

// warm starts a sandbox and gives it to a claim or to the pool.
func (c *Controller) warm(ctx context.Context, s *sandbox) {
	if err := c.backend.Start(ctx, s.id, s.pool.Template, s.record.Labels()); err != nil {
		c.startFailed(ctx, s, err)
		return
	}
	c.mu.Lock()
	s.pool.failures, s.pool.degraded = 0, ""
	s.pool.counters.Started++
	c.mu.Unlock()
	c.settle(context.WithoutCancel(ctx), s)
}

// settle gives a running sandbox in state Warming to a claim that waits, or pauses it and makes it available.
func (c *Controller) settle(ctx context.Context, s *sandbox) {
	defer c.poke()
	if !s.paused && c.deliver(s) {
		return
	}
	record := s.record
	record.State = Available
	err := error(nil)
	if !s.paused {
		err = c.backend.Pause(ctx, s.id)
	}
	if err == nil {
		err = c.backend.Label(ctx, s.id, record.Labels())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.log.Warn("sandbox could not be paused", "sandbox", s.id, "pool", s.pool.Name, "err", err)
		c.doomLocked(s, err.Error())
		return
	case s.died != "":
		c.doomLocked(s, s.died)
		return
	}
	s.paused, s.record = true, record
	if c.deliverLocked(s) {
		return
	}
	if err := c.moveLocked(s, Available); err != nil {
		c.log.Error("settle sandbox", "sandbox", s.id, "err", err)
	}
}

func (c *Controller) deliver(s *sandbox) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deliverLocked(s)
}

// deliverLocked gives s to the claim it was started for or to the first in the queue; false if there is none.
func (c *Controller) deliverLocked(s *sandbox) bool {
	p, w := s.pool, s.booked
	s.booked = nil
	if w == nil || w.left {
		if len(p.waiters) == 0 {
			return false
		}
		w, p.waiters = p.waiters[0], p.waiters[1:]
	}
	if err := c.moveLocked(s, Reserved); err != nil {
		w.result <- result{err: err}
		return false
	}
	w.result <- result{sandbox: s}
	return true
}

// startFailed dooms s, delays the next start, and tells claims that wait when there is little hope.
func (c *Controller) startFailed(ctx context.Context, s *sandbox, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.poke()
	p, w := s.pool, s.booked
	s.booked = nil
	c.doomLocked(s, err.Error())
	if context.Cause(ctx) != nil {
		return // broken off by the daemon's own stop
	}
	p.counters.StartsFailed++
	p.failures++
	p.degraded = err.Error()
	p.retryAt = time.Now().Add(backoff(p.failures))
	c.log.Warn("sandbox could not be started", "sandbox", s.id, "pool", p.Name, "failures", p.failures, "err", err)
	if w != nil && !w.left {
		w.result <- result{err: p.empty()}
	}
	if p.failures < failFast {
		return
	}
	for _, w := range slices.Concat(p.waiters, p.cold) {
		w.result <- result{err: p.empty()}
	}
	p.waiters, p.cold = nil, nil
}

// destroy makes one attempt to remove a doomed sandbox.
func (c *Controller) destroy(ctx context.Context, s *sandbox) {
	// The label comes first: a daemon that is killed between the two finishes the work at its next start.
	// A failure is no reason to let the sandbox live.
	labelErr := c.backend.Label(ctx, s.id, map[string]string{LabelState: string(Doomed)})
	err := c.backend.Destroy(ctx, s.id)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.poke()
	s.busy = false
	s.attempts++
	if s.attempts == 1 {
		close(s.tried)
	}
	if err != nil {
		s.retryAt = time.Now().Add(backoff(s.attempts))
		c.log.Error("sandbox could not be destroyed; it will be tried again", "sandbox", s.id, "attempts", s.attempts, "err", err, "label_err", labelErr)
		return
	}
	s.pool.counters.Destroyed++
	c.forgetLocked(s)
}

// save writes down that a claimed sandbox died.
func (c *Controller) save(ctx context.Context, s *sandbox) {
	err := c.backend.Label(ctx, s.id, s.record.Labels())
	c.mu.Lock()
	defer c.mu.Unlock()
	s.busy = false
	if err != nil {
		c.log.Warn("dead sandbox could not be labelled; the next reconciliation tries again", "sandbox", s.id, "err", err)
	}
	s.unsaved = false
}

func backoff(failures int) time.Duration {
	return min(lastRetry, firstRetry<<min(failures-1, 10))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
