package runtime

import (
	"context"
	"time"

	"sandpool/runtime/call"
)

// Phases are how long each part of a start took, in their order.
type Phases struct {
	Image        time.Duration // the snapshot of the image's files, and containerd's record of the sandbox
	Sentry       time.Duration // shim, sentry and gofer, until runsc has reported the start or the restore
	UserSpace    time.Duration // until a first process ran in it by exec
	Dependencies time.Duration // the template's prewarm commands
	Ready        time.Duration // the template's readiness checks
}

// lap measures one phase after the other.
type lap struct{ last time.Time }

func newLap() *lap { return &lap{time.Now()} }

// end returns the time since the end of the phase before, and makes it a span of that name in the trace of ctx.
func (l *lap) end(ctx context.Context, phase string) time.Duration {
	now := time.Now()
	call.TracePhase(ctx, phase, l.last, now)
	took := now.Sub(l.last)
	l.last = now
	return took
}
