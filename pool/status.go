package pool

import (
	"cmp"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"
)

// Overview is one pool at a moment.
type Overview struct {
	Config
	Wanted    int    // how many sandboxes it should have now; the rules move it between Min and Max
	Available int    // ready to be claimed
	Running   int    // of those, how many are hot
	InUse     int    // claimed, or being handed out
	Warming   int    // being started or made ready
	Total     int    // available and in use
	Waiting   int    // claims that wait for a sandbox
	Degraded  string // why the last start failed; empty when it did not
	Blocked   string // why nothing may be started; empty when it may
	Counters  Counters
}

// Status returns all pools, ordered by name.
func (c *Controller) Status() []Overview {
	now, blocked := time.Now(), c.admit()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Overview, 0, len(c.pools))
	for _, p := range c.pools {
		o := Overview{
			Config: p.Config, Wanted: p.size, Running: p.count(Hot), InUse: p.count(Claimed, Reserved), Warming: p.count(Warming),
			Waiting: p.waiters.Len(), Degraded: p.degraded, Blocked: blocked, Counters: p.counters,
		}
		for _, s := range p.readyOnes() {
			if !s.expired(now) {
				o.Available++
			}
		}
		o.Total = o.Available + o.InUse
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Overview) int { return strings.Compare(a.Name, b.Name) })
	return all
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
	held := slices.SortedFunc(maps.Values(c.claims), func(a, b *sandbox) int { return cmp.Compare(a.claimed, b.claimed) })
	claims := make([]Claim, 0, len(held))
	for _, s := range held {
		claims = append(claims, s.claim())
	}
	return claims
}

// newClaimID returns "c-" and 80 random bits.
func newClaimID() string { return "c-" + strings.ToLower(rand.Text()[:16]) }
