package pool

import (
	"context"
	"time"

	"sandpool/lifetime"
)

// Release ends a claim and destroys its sandbox. It returns when the first attempt at that is over; the loop goes on
// until the sandbox is gone. When that attempt could neither destroy it nor write down that the claim has ended, its error is
// returned: a daemon that is restarted now would find the claim again. An unknown claim, or one that ended before, is an error of class NotFound; while containerd
// cannot be reached, nothing is released and the error is of class Unavailable.
func (c *Controller) Release(ctx context.Context, claim string) error {
	s, err := c.release(claim)
	if err != nil {
		return err
	}
	c.step("release begun")
	return s.awaitEnd(ctx)
}

func (c *Controller) release(claim string) (*sandbox, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.findLocked(claim)
	switch {
	case err != nil:
		return nil, err
	case c.outage != nil:
		return nil, c.outage // the end of the claim could not be written down
	}
	c.endLocked(s, released)
	c.tell(Event{Kind: EventReleased, Claim: s.claim(), Message: "released"})
	return s, nil
}

// awaitEnd waits until the end of a claim is written down, or its sandbox is gone. The caller must not have its turn.
func (s *sandbox) awaitEnd(ctx context.Context) error {
	select {
	case <-s.tried:
		return s.undone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// endLocked ends a claim and dooms its sandbox.
func (c *Controller) endLocked(s *sandbox, why string) {
	c.terminateLocked(s, why)
	s.pool.releasedLocked(time.Now())
}

// Died says that a sandbox ended by itself. One in the pool is replaced; a claimed one becomes a dead claim. It returns false
// for one that was to end, or that has been dead before.
func (c *Controller) Died(id, reason string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sandboxes[id]
	return ok && c.diedLocked(s, reason)
}

func (c *Controller) diedLocked(s *sandbox, reason string) bool {
	switch s.state {
	case Terminating, Dead:
		return false
	case Warming, Reserved:
		s.died = reason // its owner sees it at its next step
	case Available, Hot:
		c.terminateLocked(s, reason)
	case Claimed:
		if s.dozing || s.record.Rest == Suspended {
			return false // it is halted or woken; whoever does that sees an end that nobody wanted
		}
		if c.moveLocked(s, Dead) != nil {
			return false
		}
		kind := EventDied
		if s.record.Grant.Lease.Stage == lifetime.Grace {
			kind, reason = EventStopped, "its processes ended in the grace period"
		}
		s.record.State, s.record.Rest, s.record.Reason, s.unsaved = Dead, Awake, reason, true
		c.deadlines.Set(s.record.Grant.ID, s.record.Grant.Owner, s.lease())
		c.tell(Event{Kind: kind, Claim: s.claim(), Message: reason})
		c.loop.Wake()
	}
	s.pool.counters.Died++
	c.log.Warn("sandbox died", "sandbox", s.id, "pool", s.pool.Name, "claim", s.record.Grant.ID, "reason", reason)
	return true
}

// Get returns a claim; an unknown one is an error of class NotFound.
func (c *Controller) Get(claim string) (Claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.findLocked(claim)
	if err != nil {
		return Claim{}, err
	}
	return s.claim(), nil
}

// findLocked returns the sandbox of a claim; that there is no such claim is an error of class NotFound.
func (c *Controller) findLocked(claim string) (*sandbox, error) {
	if s, ok := c.claims[claim]; ok {
		return s, nil
	}
	return nil, ended(claim)
}
