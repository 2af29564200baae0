// Package size has the rules by which pools grow and shrink. They are arithmetic only: what follows from them is for the pool to do.
package size

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
)

const (
	// growBy and drainBy are how much of its target a pool grows or drains at once, in per cent.
	growBy  = 20
	drainBy = 10
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

// Validate reports every fault of a size at once; the error is of class InvalidArgument.
func (s Size) Validate() error {
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	check(s.Min >= 0, "min must not be negative")
	check(s.Min <= s.Target, "min must not be over target")
	check(s.Target <= s.Max, "target must not be over max")
	check(s.Max >= 1, "max must be at least 1")
	check(s.Hot >= 0 && s.Hot <= s.Max, "hot must be between 0 and max")
	check(s.ScaleUp >= 1 && s.ScaleUp <= 100, "scale_up_threshold must be between 1 and 100 per cent")
	check(s.ScaleDown >= 0 && s.ScaleDown < s.ScaleUp, "scale_down_threshold must be below scale_up_threshold")
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errors.Join(errs...), errdefs.ErrInvalidArgument)
}

// Counts are a pool's sandboxes as the rules count them: a warming one is part of the total once it is ready.
type Counts struct{ Available, InUse, Warming int }

// Total is how many are ready or in use.
func (c Counts) Total() int { return c.Available + c.InUse }

// Growth is how many sandboxes a claim makes a pool grow by.
func (s Size) Growth(c Counts) int {
	if c.Total() == 0 || 100*(c.InUse+c.Warming) < s.ScaleUp*c.Total() {
		return 0
	}
	return max(0, min(s.Max-c.Total()-c.Warming, percentOf(s.Target, growBy)))
}

// Drain is how many available sandboxes a sweep takes out of a pool.
func (s Size) Drain(c Counts) int {
	if c.Total() <= s.Min || 100*c.InUse >= s.ScaleDown*c.Total() {
		return 0
	}
	return min(c.Available, c.Total()-s.Min, percentOf(s.Target, drainBy))
}

// percentOf rounds up.
func percentOf(n, percent int) int { return (n*percent + 99) / 100 }
