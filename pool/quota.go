package pool

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// ErrQuota is of claims whose owner has as many as it may have. It is of class ResourceExhausted.
var ErrQuota = fmt.Errorf("quota: %w", errdefs.ErrResourceExhausted)

// ask counts a claim as its owner's while it is under way, if the owner may have one more. It ends with answeredLocked.
func (c *Controller) ask(p *pool, req Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.Quota > 0 {
		held := countOf(c.claims, func(s *sandbox) bool { return s.record.Grant.Owner == req.Owner })
		if waiting := c.asking[req.Owner]; held+waiting >= req.Quota {
			return fmt.Errorf("%s has %d claims and asks for %d, of at most %d together (limits.claims_per_user): release one or wait for its end: %w",
				req.Owner, held, waiting, req.Quota, ErrQuota)
		}
	}
	c.asking[req.Owner]++
	p.demand.Claim(req.asked)
	return nil
}

// answeredLocked ends what ask began: the claim was granted or refused.
func (c *Controller) answeredLocked(owner string) {
	if c.asking[owner]--; c.asking[owner] == 0 {
		delete(c.asking, owner)
	}
}
