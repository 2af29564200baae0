package pool

import (
	"context"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/pool/label"
)

// warm starts a sandbox and gives it to a claim or to the pool.
func (c *Controller) warm(ctx context.Context, s *sandbox) {
	s.begun = time.Now()
	from := Origin{Template: s.pool.Template, Source: s.source, Checkpoint: s.from, Cold: s.booked != nil}
	if s.booked != nil {
		from.Trace = s.booked.trace
	}
	ctx, done := c.starting(ctx, s.id, from)
	how, err := c.backend.Start(ctx, s.id, from, s.record.Labels())
	defer func() { done(err) }()
	if err != nil {
		c.startFailed(ctx, s, err)
		return
	}
	c.mu.Lock()
	s.how = how
	p := s.pool
	if s.from == "" { // a restore says nothing of the template
		p.failures, p.degraded = 0, ""
		p.demand.Started(time.Since(s.begun))
	}
	p.counters.Started++
	s.ready = true
	c.mu.Unlock()
	if s.from == "" {
		c.started(p.Template, how)
	}
	c.step("refill started")
	c.settle(context.WithoutCancel(ctx), s)
}

// settle gives a started sandbox in state Warming to a claim that waits, or makes it available: hot if the pool wants
// one more that runs, else paused.
func (c *Controller) settle(ctx context.Context, s *sandbox) {
	defer c.loop.Wake()
	c.mu.Lock()
	if c.deliverLocked(s) || s.state == Terminating {
		c.mu.Unlock()
		return
	}
	s.heating = s.heating || s.pool.hotLack() > 0
	record := s.record
	c.mu.Unlock()

	var err error
	if s.heating {
		record.State = Hot
		err = c.heat(ctx, s, record)
	} else {
		record.State = Available
		err = c.park(ctx, s, record)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	s.heating = false
	switch p := s.pool; {
	case err != nil:
		c.log.Warn("sandbox could not be made available", "sandbox", s.id, "pool", p.Name, "err", err)
		c.terminateLocked(s, err.Error())
	case s.died != "":
		c.terminateLocked(s, s.died)
	case p.Hold && p.size == 0 && p.firstWaiter() == nil:
		c.terminateLocked(s, "the pool is drained")
	default:
		s.paused, s.record = record.State == Available, record
		if !c.deliverLocked(s) {
			s.settled = true
			_ = c.moveLocked(s, record.State)
		}
	}
}

// park freezes a sandbox; the label follows, so that one labelled as warm is paused.
func (c *Controller) park(ctx context.Context, s *sandbox, r Record) error {
	if !s.paused {
		if err := c.backend.Pause(ctx, s.id); err != nil {
			return err
		}
		c.step("refill paused")
	}
	defer c.step("refill labelled")
	return c.backend.Label(ctx, s.id, r.Labels())
}

// heat lets a sandbox run; the label comes first, so that one labelled as warm never runs.
func (c *Controller) heat(ctx context.Context, s *sandbox, r Record) error {
	if err := c.backend.Label(ctx, s.id, r.Labels()); err != nil {
		return err
	}
	c.step("heat labelled")
	if !s.paused {
		return nil
	}
	defer c.step("heat resumed")
	return c.backend.Resume(ctx, s.id)
}

// deliverLocked gives s to the claim it was started for or to the first in the queue; false if there is none.
func (c *Controller) deliverLocked(s *sandbox) bool {
	p, w := s.pool, s.booked
	s.booked = nil
	if w == nil || w.left {
		if s.from != "" {
			c.terminateLocked(s, givenUp)
			return false
		}
		if w = p.firstWaiter(); w == nil {
			return false
		}
		p.waiters.Serve(w)
	}
	if err := c.moveLocked(s, Reserved); err != nil {
		w.answer(nil, err)
		return false
	}
	p.claimedLocked(time.Now())
	return w.answer(s, nil)
}

// startFailed dooms s and delays the next start.
func (c *Controller) startFailed(ctx context.Context, s *sandbox, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.loop.Wake()
	p, w := s.pool, s.booked
	s.booked = nil
	c.terminateLocked(s, err.Error())
	if context.Cause(ctx) != nil {
		return // broken off by the daemon's own stop
	}
	p.counters.StartsFailed++
	if s.from != "" {
		c.log.Warn("sandbox could not be restored", "sandbox", s.id, "pool", p.Name, "checkpoint", s.from, "err", err)
		w.answer(nil, err)
		return
	}
	c.log.Warn("sandbox could not be started", "sandbox", s.id, "pool", p.Name, "failures", p.failures+1, "err", err)
	c.failedLocked(p, err)
	w.answer(nil, c.emptyLocked(p))
}

// failedLocked notes that p could start nothing, and why, and tells claims that wait when there is little hope.
func (c *Controller) failedLocked(p *pool, err error) {
	p.failures++
	p.degraded = err.Error()
	p.retryAt = time.Now().Add(retries.After(p.failures))
	if p.failures < failFast {
		return
	}
	p.refuseLocked(c.emptyLocked(p))
}

// refuseLocked tells all claims that wait that they wait in vain.
func (p *pool) refuseLocked(why error) {
	for _, w := range p.waiters.Clear() {
		w.answer(nil, why)
	}
}

// destroy makes one attempt to remove a doomed sandbox.
func (c *Controller) destroy(ctx context.Context, s *sandbox) {
	s.turns <- struct{}{} // what is still done to its claim has deadlines
	defer func() { <-s.turns }()
	// The label comes first: a daemon that is killed between the two finishes the work at its next start.
	// A failure is no reason to let the sandbox live.
	labelErr := c.backend.Label(ctx, s.id, map[string]string{LabelState: string(Terminating), LabelReason: label.Clip(s.why)})
	c.step("release labelled")
	err := c.backend.Destroy(ctx, s.id)
	c.step("release destroyed")
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.loop.Wake()
	s.busy = false
	s.attempts++
	if s.attempts == 1 {
		if err != nil {
			s.undone = labelErr
		}
		close(s.tried)
	}
	c.tellEndLocked(s, err)
	if err != nil {
		s.retryAt = time.Now().Add(retries.After(s.attempts))
		c.log.Error("sandbox could not be destroyed; it will be tried again", "sandbox", s.id, "attempts", s.attempts, "err", err, "label_err", labelErr)
		return
	}
	s.pool.counters.Destroyed++
	c.forgetLocked(s)
}

// save writes down that a claimed sandbox died.
func (c *Controller) save(ctx context.Context, s *sandbox) {
	c.mu.Lock()
	labels := s.record.Labels()
	c.mu.Unlock()
	err := c.backend.Label(ctx, s.id, labels)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.busy = false
	if err != nil && !errdefs.IsNotFound(err) {
		c.log.Warn("dead sandbox could not be labelled; it will be tried again", "sandbox", s.id, "err", err)
		s.retryAt = time.Now().Add(retries.Last)
		c.loop.Wake()
		return
	}
	s.unsaved = false
}

// RemoveAll destroys every sandbox, claimed ones too. It is for a daemon that stops, after Run has returned.
func (c *Controller) RemoveAll(ctx context.Context) {
	c.mu.Lock()
	for _, s := range c.sandboxes {
		c.terminateLocked(s, "the daemon removes all")
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
		if s.state == Terminating {
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
