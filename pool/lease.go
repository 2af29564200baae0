package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime"
	"sandpool/pool/label"
)

// Why claims end, as their last events say.
const (
	released = "released"
	expired  = "its time is over"
)

var _ lifetime.Claims = (*Controller)(nil)

// lease is how the claim's time stands. Of a dead one only the end is left to come.
func (s *sandbox) lease() lifetime.Lease {
	l := s.record.Grant.Lease
	if s.state == Dead {
		l.Type.Warning, l.Type.Grace, l.Stage = 0, 0, lifetime.Steady
	}
	return l
}

// Lease returns how a claim's time stands; false when it has ended.
func (c *Controller) Lease(claim string) (lifetime.Lease, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.claims[claim]
	if !ok {
		return lifetime.Lease{}, false
	}
	return s.lease(), true
}

// Extend puts a claim's end off, durably: see lifetime.Lease.Extend for how far and when it is refused. One that races the end
// of the claim either wins, and the claim lives on, or is refused and changes nothing.
func (c *Controller) Extend(ctx context.Context, claim string, by time.Duration) (Claim, error) {
	s, done, err := c.turn(ctx, claim)
	if err != nil {
		return Claim{}, err
	}
	defer done()
	before, state := c.leaseOf(s)
	if state == Dead {
		return Claim{}, fmt.Errorf("extend claim %s: it is dead: %w", claim, errdefs.ErrFailedPrecondition)
	}
	next, err := before.Extend(time.Now(), by)
	if err != nil {
		return Claim{}, fmt.Errorf("extend claim %s: %w", claim, err)
	}
	c.step("extend begun")
	set, err := c.setLease(context.WithoutCancel(ctx), s, next, "extend labelled")
	switch {
	case err != nil:
		return Claim{}, err
	case !set:
		return Claim{}, ended(claim)
	}
	return c.claimOf(s), nil
}

// leaseOf returns how a claim's time stands, and the state of its sandbox.
func (c *Controller) leaseOf(s *sandbox) (lifetime.Lease, State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.record.Grant.Lease, s.state
}

// setLease changes a claim's lease, on disk first, and tells of it; false if the claim has ended meanwhile. The caller has its turn.
func (c *Controller) setLease(ctx context.Context, s *sandbox, next lifetime.Lease, step string) (bool, error) {
	if err := c.backend.Label(ctx, s.id, label.FormatLease(next)); err != nil {
		return false, err
	}
	c.step(step)
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &s.record.Grant
	if s.state != Claimed {
		return false, nil
	}
	g.Lease = next
	left := lifetime.Until(next.ExpiresAt)
	switch next.Stage {
	case lifetime.Steady:
		c.deadlines.Set(g.ID, g.Owner, next)
		c.tell(Event{Kind: EventExtended, Claim: s.claim(), Message: fmt.Sprintf("extension %d of %d: it ends at %s", next.Extended, next.Type.Extensions, next.ExpiresAt.UTC().Format(time.RFC3339))})
	case lifetime.Warned:
		c.tell(Event{Kind: EventWarning, Claim: s.claim(), Message: fmt.Sprintf("it ends in %s", left)})
	case lifetime.Grace:
		c.tell(Event{Kind: EventGrace, Claim: s.claim(), Message: fmt.Sprintf("it is saved and stopped, and ends in %s", left)})
	}
	return true, nil
}

// Advance notes durably that a claim has come to a stage, unless its lease is no longer as seen, or it has ended: then false.
func (c *Controller) Advance(ctx context.Context, claim string, seen lifetime.Lease, to lifetime.Stage) (bool, error) {
	s, done, err := c.turn(ctx, claim)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer done()
	next, state := c.leaseOf(s)
	if state != Claimed || !next.ExpiresAt.Equal(seen.ExpiresAt) || next.Stage != seen.Stage {
		return false, nil
	}
	next.Stage = to
	return c.setLease(ctx, s, next, "stage "+string(to)+" labelled")
}

// Expire ends a claim whose time is over; one that was extended meanwhile lives on. It does not wait.
func (c *Controller) Expire(claim string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.claims[claim]
	if !ok {
		return
	}
	if lease := s.lease(); time.Now().Before(lease.ExpiresAt) {
		c.deadlines.Set(claim, s.record.Grant.Owner, lease)
		return
	}
	c.log.Info("claim expired", "claim", claim, "sandbox", s.id, "pool", s.pool.Name)
	c.endLocked(s, expired)
}

// turn waits until nobody else changes the labels of a claim's sandbox. done must be called. A claim that does not exist, or
// has ended meanwhile, is an error of class NotFound.
func (c *Controller) turn(ctx context.Context, claim string) (s *sandbox, done func(), err error) {
	c.mu.Lock()
	s, err = c.findLocked(claim)
	outage := c.outage
	c.mu.Unlock()
	switch {
	case err != nil:
		return nil, nil, err
	case outage != nil:
		return nil, nil, outage
	}
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claims[claim] != s {
		<-s.turns
		return nil, nil, ended(claim)
	}
	return s, func() { <-s.turns }, nil
}

// ended is the answer to who asks for a claim that there is not.
func ended(claim string) error {
	return fmt.Errorf("claim %q does not exist or has ended: %w", claim, errdefs.ErrNotFound)
}
