// Package wait says how long to wait: until the next attempt of what fails, until something is to be done, and for what nobody tells of.
package wait

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// Backoff are the pauses between attempts that fail: they double from First up to Last.
type Backoff struct{ First, Last time.Duration }

// After is the pause after a number of failures in a row, of which there is one at least.
func (b Backoff) After(failures int) time.Duration {
	pause := b.First
	for ; failures > 1 && pause < b.Last; failures-- {
		pause *= 2
	}
	return min(pause, b.Last)
}

// Interval is the time between two looks at something that there is no event for.
const Interval = 20 * time.Millisecond

// Sleep waits for d; it returns the cause when ctx ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Every does something at an interval until ctx ends.
func Every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// Never is what a look returns when only a wake has something to look at.
const Never time.Duration = math.MaxInt64

// Loop looks at something whenever it is woken, and when its last look said so. Make it with NewLoop.
type Loop struct {
	wake   chan struct{} // one slot: wakes that come during a look are one
	rounds atomic.Uint64
}

// NewLoop makes a Loop that does not run yet.
func NewLoop() *Loop { return &Loop{wake: make(chan struct{}, 1)} }

// Wake has the loop look again, also if it does not run yet. It does not block.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Rounds counts the looks and has the loop take another: a count that stays the same is of a loop that hangs.
func (l *Loop) Rounds() uint64 {
	l.Wake()
	return l.rounds.Load()
}

// Run looks until ctx ends. Each look returns how long until the next one, unless the loop is woken before.
func (l *Loop) Run(ctx context.Context, look func() time.Duration) {
	for context.Cause(ctx) == nil {
		l.rounds.Add(1)
		timer := time.NewTimer(look())
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}
