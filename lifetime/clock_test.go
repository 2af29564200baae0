package lifetime

import (
	"log/slog"
	"slices"
	"testing"
	"time"
)

// TestWardenFollowsASteppedClock steps the wall clock under a deadline, as an administrator or a time service may.
func TestWardenFollowsASteppedClock(t *testing.T) {
	w := NewWarden(slog.New(slog.DiscardHandler))
	now := time.Now() // with a monotonic reading, which must not count
	w.began = now.Round(0)
	w.Set("claim", "owner", Lease{Type: Type{Lifetime: time.Hour}, ExpiresAt: now.Add(time.Hour), Stage: Steady})
	for _, step := range []struct {
		clock time.Duration // from now on
		want  []string
	}{
		{-24 * time.Hour, nil}, // set back: the deadline is a day farther away
		{59 * time.Minute, nil},
		{time.Hour, []string{"claim"}}, // set forward
		{2 * time.Hour, nil},
	} {
		got, next := w.look(t.Context(), now.Add(step.clock))
		if !slices.Equal(got, step.want) {
			t.Errorf("clock at %s: %q are over, want %q", step.clock, got, step.want)
		}
		if next <= 0 || next > sweep {
			t.Errorf("clock at %s: it looks again after %s, so a step could go unnoticed for longer than %s", step.clock, next, sweep)
		}
	}
}
