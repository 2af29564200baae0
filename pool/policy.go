package pool

import "time"

const (
	// growBy and drainBy are how much of its target a pool grows or drains at once, in per cent.
	growBy  = 20
	drainBy = 10
	// sweepEvery is how often a pool is looked at for draining.
	sweepEvery = 30 * time.Second
)

// Size is how large a pool is and how it changes. Claimed sandboxes count: a pool of 8 with 3 in use keeps 5 ready.
type Size struct {
	Min       int // draining stops here
	Target    int // what the pool starts with and returns to
	Max       int // the most sandboxes, started on demand or not
	ScaleUp   int // per cent in use, at or above which a claim makes the pool grow by 20 % of Target
	ScaleDown int // per cent in use, below which a sweep drains 10 % of Target
	Hot       int // of those ready, how many run instead of being paused
	Adaptive  bool
	Hold      bool // nothing is refilled; claims are still served, by cold starts too
}

// counts are a pool's sandboxes as the rules count them: a warming one is part of the total once it is ready.
type counts struct{ available, inUse, warming int }

func (c counts) total() int { return c.available + c.inUse }

// growth is how many sandboxes a claim makes a pool grow by.
func (s Size) growth(c counts) int {
	if c.total() == 0 || 100*(c.inUse+c.warming) < s.ScaleUp*c.total() {
		return 0
	}
	return max(0, min(s.Max-c.total()-c.warming, percentOf(s.Target, growBy)))
}

// drain is how many available sandboxes a sweep takes out of a pool.
func (s Size) drain(c counts) int {
	if c.total() <= s.Min || 100*c.inUse >= s.ScaleDown*c.total() {
		return 0
	}
	return min(c.available, c.total()-s.Min, percentOf(s.Target, drainBy))
}

// percentOf rounds up.
func percentOf(n, percent int) int { return (n*percent + 99) / 100 }

// counts of p now. Reserved sandboxes are in use; those that only wait to be replaced are left out.
func (p *pool) counts(now time.Time) counts {
	var c counts
	for _, s := range p.sandboxes {
		switch s.state {
		case Available, Hot:
			if !s.stale(now) {
				c.available++
			}
		case Reserved, Claimed:
			c.inUse++
		case Warming:
			if !s.trial {
				c.warming++
			}
		}
	}
	return c
}

// stale tells whether s is to be replaced: it nears its maximum age, or was started from something older.
func (s *sandbox) stale(now time.Time) bool {
	p := s.pool
	return p.Source != nil && s.record.Fingerprint != p.Source.Fingerprint() || p.MaxAge > 0 && now.Sub(s.record.CreatedAt) >= p.refreshAge()
}

// refreshAge is the age of a sandbox at which a replacement is started.
func (p *pool) refreshAge() time.Duration {
	if p.RefreshAge > 0 {
		return min(p.RefreshAge, p.MaxAge)
	}
	return p.MaxAge
}

// expired tells whether s is too old to be handed out.
func (s *sandbox) expired(now time.Time) bool {
	return s.pool.MaxAge > 0 && now.Sub(s.record.CreatedAt) >= s.pool.MaxAge
}

// effective is the pool's Size with the target that demand asks for, if it is adaptive.
func (p *pool) effective(now time.Time) Size {
	s := p.Size
	if s.Adaptive {
		s.Target = max(s.Min, min(s.Max, p.demand.target(now)))
	}
	return s
}

// claimedLocked applies the rules that a claim triggers.
func (p *pool) claimedLocked(now time.Time) {
	c, s := p.counts(now), p.effective(now)
	if s.Adaptive {
		p.size = max(p.size, min(s.Max, c.inUse+s.Target))
	}
	if n := s.growth(c); n > 0 {
		p.size = min(s.Max, max(p.size, c.total()+c.warming)+n)
	}
}

// releasedLocked gives back what the pool grew by, unless the slot is to be filled again.
func (p *pool) releasedLocked(now time.Time) {
	if p.Recycle != RecycleReset && p.size > p.effective(now).Target {
		p.size--
	}
}

// sweepLocked applies the rules that time triggers and returns how many sandboxes to drain.
func (p *pool) sweepLocked(now time.Time) int {
	c := p.counts(now)
	n := p.effective(now).drain(c)
	if n > 0 {
		p.size = max(p.Min, min(p.size, c.total())-n)
	}
	return n
}
