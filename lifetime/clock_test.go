package lifetime

import (
	"slices"
	"testing"
	"time"
)

// TestKeeperFollowsASteppedClock steps the wall clock under a deadline, as an administrator or a time service may.
func TestKeeperFollowsASteppedClock(t *testing.T) {
	k := NewKeeper()
	now := time.Now()
	k.Set("claim", now.Add(time.Hour)) // with a monotonic reading, which must not count
	for _, step := range []struct {
		clock time.Duration // from now on
		want  []string
	}{
		{-24 * time.Hour, nil}, // set back: the deadline is a day farther away
		{59 * time.Minute, nil},
		{time.Hour, []string{"claim"}}, // set forward
	} {
		got, next := k.due(now.Add(step.clock))
		if !slices.Equal(got, step.want) {
			t.Errorf("clock at %s: %q are due, want %q", step.clock, got, step.want)
		}
		if next <= 0 || next > sweep {
			t.Errorf("clock at %s: it looks again after %s, so a step could go unnoticed for longer than %s", step.clock, next, sweep)
		}
	}
}
