package pool

import (
	"context"
	"iter"
	"slices"
	"time"

	"sandpool/lifetime/line"
)

// refillLocked starts what claims wait for and what pools lack, as far as each pool's Max, the host and the number of starts at once
// allow. It returns when to try again.
func (c *Controller) refillLocked(ctx context.Context, now time.Time) time.Time {
	next, blocked := now.Add(idle), c.admit()
	var open []*pool // those that may start something
	for _, p := range c.pools {
		demanded, lack := p.lack(now)
		switch {
		case demanded+lack == 0, p.Source == nil: // Prepared wakes the loop
		case blocked != "":
			next = earlier(next, now.Add(admitEvery))
		case p.retryAt.After(now):
			next = earlier(next, p.retryAt)
		default:
			open = append(open, p)
		}
	}
	for {
		p, w := c.nextStartLocked(open, now)
		if p == nil {
			return next
		}
		c.startLocked(ctx, p, w, now)
		if p.failures > 0 { // one trial at a time until one succeeds
			open = slices.DeleteFunc(open, func(other *pool) bool { return other == p })
		}
	}
}

// nextStartLocked returns the pool that is to start a sandbox now, nil if none, and the claim that it is for, if it is for one. Claims
// come first, and of these those of the owner for whom the fewest are being started.
func (c *Controller) nextStartLocked(open []*pool, now time.Time) (next *pool, of *waiter) {
	slots := c.slotsLocked()
	for _, p := range open {
		if p.room(now) <= 0 {
			continue
		}
		w := slots.first(p.unserved())
		if w != nil && (of == nil || slots.Before(w.owner, of.owner) || !slots.Before(of.owner, w.owner) && w.since < of.since) {
			next, of = p, w
		}
	}
	if next != nil || !slots.Free("") || slots.handingOut && slots.Held > 0 { // claims go first: refilling keeps to one processor
		return next, of
	}
	for _, p := range open {
		if _, lack := p.lack(now); lack > 0 && p.room(now) > 0 && (next == nil || p.count(Available, Hot) < next.count(Available, Hot)) {
			next = p
		}
	}
	return next, nil
}

// startLocked starts a sandbox of p, for a claim that waits if w is not nil.
func (c *Controller) startLocked(ctx context.Context, p *pool, w *waiter, now time.Time) {
	s := c.addLocked(p, c.newID(), Record{State: Warming, Pool: p.Name, Fingerprint: p.Source.Fingerprint(), OnClaim: p.Source.OnClaim(), Network: p.Source.Network(), CreatedAt: now})
	s.source = p.Source
	if w != nil {
		s.wantedBy = w.owner
		if w.cold {
			p.waiters.Serve(w)
			s.booked, s.from = w, w.checkpoint
			if s.from != "" { // it goes on from the first moment, and with no more than its claim has; what is wrong with that is for the hand-out to say
				s.record.Network, _ = w.joined(s.record.Network)
			}
		}
	}
	c.workers.Go(func() { c.warm(ctx, s) })
}

// lack returns how many sandboxes p must start for claims that wait, and how many more to reach its size.
func (p *pool) lack(now time.Time) (demanded, refill int) {
	c := p.counts(now)
	for range p.unserved() {
		demanded++
	}
	if !p.Hold {
		refill = max(0, p.size-c.Total()-c.Warming-demanded)
	}
	return demanded, refill
}

// unbooked is how many sandboxes are on their way that any claim may get.
func (p *pool) unbooked() int {
	return countOf(p.sandboxes, func(s *sandbox) bool { return s.state == Warming && !s.trial && s.booked == nil })
}

// firstWaiter is the claim that gets the next sandbox that is ready; nil if none waits for one.
func (p *pool) firstWaiter() *waiter {
	for _, w := range p.waiters.All() {
		if !w.cold {
			return w
		}
	}
	return nil
}

// unserved are the claims for which nothing is being started yet.
func (p *pool) unserved() iter.Seq[*waiter] {
	return func(yield func(*waiter) bool) {
		coming := p.unbooked()
		for _, w := range p.waiters.All() {
			if !w.cold && coming > 0 {
				coming--
			} else if !yield(w) {
				return
			}
		}
	}
}

// slots are the starts under way.
type slots struct {
	line.Slots // by the owners of claims

	handingOut bool // a sandbox is being handed out
}

func (c *Controller) slotsLocked() slots {
	now := slots{Slots: line.Slots{Most: c.starts, Owners: map[string]int{}}}
	for _, s := range c.sandboxes {
		switch {
		case s.state == Reserved:
			now.handingOut = true
		case s.state == Warming && !s.ready:
			now.Held++
			if s.wantedBy != "" {
				now.Owners[s.wantedBy]++
			}
		}
	}
	return now
}

// first returns the claim that is to be served first of those in a line; nil if none may.
func (s slots) first(waiting iter.Seq[*waiter]) (first *waiter) {
	for w := range waiting {
		if s.Free(w.owner) && (first == nil || s.Before(w.owner, first.owner)) {
			first = w
		}
	}
	return first
}
