package call

import (
	"context"
	"time"
)

// Lap measures one phase after the other. Make it with NewLap.
type Lap struct{ last time.Time }

// NewLap begins with the first phase.
func NewLap() *Lap { return &Lap{time.Now()} }

// End returns the time since the end of the phase before, and makes it a span of that name in the trace of ctx.
func (l *Lap) End(ctx context.Context, phase string) time.Duration {
	now := time.Now()
	tracePhase(ctx, phase, l.last, now)
	took := now.Sub(l.last)
	l.last = now
	return took
}
