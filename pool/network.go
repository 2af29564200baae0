package pool

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"

	"sandpool/pool/label"
)

// networkOf is what a claim of s may have of the network before it says anything: what the template has now, if s was started with some.
func (c *Controller) networkOf(s *sandbox) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.record.Network != "" && s.pool.Source != nil {
		return s.pool.Source.Network()
	}
	return s.record.Network
}

// joined is the network of a claim in a sandbox that has one by itself, or has none.
func (r Request) joined(has string) (string, error) {
	if r.Network == nil {
		return has, nil
	}
	return r.Network(has)
}

// fits tells whether a claim may have a sandbox of p, as far as that is known before there is one.
func (p *pool) fits(req Request) error {
	if p.Source == nil {
		return nil
	}
	_, err := req.joined(p.Source.Network())
	return err
}

// SetNetwork changes the network of a claim, durably: change makes the new one of the old.
// What change fails with is returned as it is. A claim that is dead is an error of class FailedPrecondition.
func (c *Controller) SetNetwork(ctx context.Context, claim string, change func(has string) (string, error)) (Claim, error) {
	s, done, err := c.turn(ctx, claim)
	if err != nil {
		return Claim{}, err
	}
	defer done()
	before := c.claimOf(s)
	if before.State == Dead {
		return Claim{}, fmt.Errorf("change network of claim %s: it is dead: %w", claim, errdefs.ErrFailedPrecondition)
	}
	network, err := change(before.Network)
	if err != nil {
		return Claim{}, err
	}
	if err := c.backend.Label(context.WithoutCancel(ctx), s.id, label.Replace(LabelNetwork, before.Network, network)); err != nil {
		return Claim{}, err
	}
	c.step("network labelled")
	c.mu.Lock()
	defer c.mu.Unlock()
	s.record.Network = network
	if s.state != Claimed {
		return Claim{}, ended(claim)
	}
	return s.claim(), nil
}
