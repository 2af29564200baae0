package pool

import (
	"cmp"
	"crypto/rand"
	"slices"
	"strings"
)

// Overview is one pool at a moment.
type Overview struct {
	Name      string // region:template
	Template  string
	Target    int
	Max       int
	Available int
	InUse     int
	Warming   int
	Total     int
	Waiting   int
	Degraded  string // why the last start failed; empty when it did not
	Counters  Counters
}

// Status returns all pools, ordered by name.
func (c *Controller) Status() []Overview {
	c.mu.Lock()
	defer c.mu.Unlock()
	status := make([]Overview, 0, len(c.pools))
	for _, p := range c.pools {
		status = append(status, Overview{
			Name: p.Name, Template: p.Template, Target: p.Target, Max: p.Max,
			Available: p.count(Available), InUse: p.count(Claimed, Reserved), Warming: p.count(Warming), Total: p.total(),
			Waiting: len(p.waiters) + len(p.cold), Degraded: p.degraded, Counters: p.counters,
		})
	}
	slices.SortFunc(status, func(a, b Overview) int { return strings.Compare(a.Name, b.Name) })
	return status
}

// Knows tells whether the controller has the sandbox, or had it until a moment ago. It knows one from before its first
// trace in containerd until after its last, so what is unknown is left over.
func (c *Controller) Knows(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sandboxes[id] != nil || c.gone[id] != 0
}

// Claims returns all claims, oldest first.
func (c *Controller) Claims() []Claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	claims := make([]Claim, 0, len(c.claims))
	for _, s := range c.claims {
		claims = append(claims, s.claim())
	}
	slices.SortFunc(claims, func(a, b Claim) int {
		return cmp.Or(a.ClaimedAt.Compare(b.ClaimedAt), strings.Compare(a.ID, b.ID))
	})
	return claims
}

// newClaimID returns "c-" and 80 random bits.
func newClaimID() string { return "c-" + strings.ToLower(rand.Text()[:16]) }
