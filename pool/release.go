package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// Release ends a claim and destroys its sandbox. It returns when the first attempt at that is over; the loop goes on
// until the sandbox is gone. When that attempt could neither destroy it nor write down that the claim has ended, its error is
// returned: a daemon that is restarted now would find the claim again. An unknown claim, or one that ended before, is an error of class NotFound; while containerd
// cannot be reached, nothing is released and the error is of class Unavailable.
func (c *Controller) Release(ctx context.Context, claim string) error {
	c.mu.Lock()
	s, ok := c.claims[claim]
	if !ok {
		c.mu.Unlock()
		return fmt.Errorf("claim %q does not exist or has ended: %w", claim, errdefs.ErrNotFound)
	}
	if c.outage != nil {
		defer c.mu.Unlock()
		return c.outage // the end of the claim could not be written down
	}
	c.doomLocked(s, "released")
	s.pool.releasedLocked(time.Now())
	c.mu.Unlock()
	c.step("release begun")
	select {
	case <-s.tried:
		return s.undone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Expire ends a claim whose time is over. It does not wait.
func (c *Controller) Expire(claim string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.claims[claim]; ok {
		c.log.Info("claim expired", "claim", claim, "sandbox", s.id, "pool", s.pool.Name)
		c.doomLocked(s, "expired")
		s.pool.releasedLocked(time.Now())
	}
}

// Died says that a sandbox ended by itself. One in the pool is replaced; a claimed one becomes a dead claim.
func (c *Controller) Died(id, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.sandboxes[id]; ok {
		c.diedLocked(s, reason)
	}
}

func (c *Controller) diedLocked(s *sandbox, reason string) {
	switch s.state {
	case Doomed, Dead:
		return
	case Warming, Reserved:
		s.died = reason // its owner sees it at its next step
	case Available, Hot:
		c.doomLocked(s, reason)
	case Claimed:
		if err := c.moveLocked(s, Dead); err != nil {
			c.log.Error("mark sandbox dead", "sandbox", s.id, "err", err)
			return
		}
		s.record.State, s.record.Reason, s.unsaved = Dead, reason, true
		c.poke()
	}
	s.pool.counters.Died++
	c.log.Warn("sandbox died", "sandbox", s.id, "pool", s.pool.Name, "claim", s.record.Grant.ID, "reason", reason)
}

// Get returns a claim; an unknown one is an error of class NotFound.
func (c *Controller) Get(claim string) (Claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.claims[claim]
	if !ok {
		return Claim{}, fmt.Errorf("claim %q does not exist or has ended: %w", claim, errdefs.ErrNotFound)
	}
	return s.claim(), nil
}
