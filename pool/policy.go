package pool

import (
	"time"

	"sandpool/pool/size"
)

// sweepEvery is how often a pool is looked at for draining.
const sweepEvery = 30 * time.Second

// Size is how large a pool is and how it changes.
type Size = size.Size

// counts of p now. Reserved sandboxes are in use; those that only wait to be replaced are left out.
func (p *pool) counts(now time.Time) size.Counts {
	var c size.Counts
	for _, s := range p.sandboxes {
		switch s.state {
		case Available, Hot:
			if !s.stale(now) {
				c.Available++
			}
		case Reserved, Claimed:
			c.InUse++
		case Warming:
			if !s.trial {
				c.Warming++
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
		s.Target = max(s.Min, min(s.Max, p.demand.Target(now)))
	}
	return s
}

// claimedLocked applies the rules that a claim triggers.
func (p *pool) claimedLocked(now time.Time) {
	c, s := p.counts(now), p.effective(now)
	if s.Adaptive {
		p.size = max(p.size, min(s.Max, c.InUse+s.Target))
	}
	if n := s.Growth(c); n > 0 {
		p.size = min(s.Max, max(p.size, c.Total()+c.Warming)+n)
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
	n := p.effective(now).Drain(c)
	if n > 0 {
		p.size = max(p.Min, min(p.size, c.Total())-n)
	}
	return n
}
