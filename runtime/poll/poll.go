// Package poll waits for what nobody tells of.
package poll

import (
	"context"
	"time"
)

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
