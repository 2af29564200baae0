package daemon

import (
	"slices"
	"testing"

	"sandpool/configs"
	"sandpool/daemon/hooks"
	"sandpool/pool"
)

// TestHooksKnowAllEvents compares what is told with what a hook can be configured for.
func TestHooksKnowAllEvents(t *testing.T) {
	told := []string{
		pool.EventClaimed, pool.EventReleased, pool.EventExtended, pool.EventWarning, pool.EventGrace, eventCheckpoint, eventCheckpointFailed, eventCheckpointDeleted,
		pool.EventStopped, pool.EventKilled, pool.EventKillFailed, pool.EventDied, pool.EventPaused, pool.EventResumed, pool.EventSuspended,
		pool.EventRestored, eventImagePulled, eventImageFailed,
	}
	if !slices.Equal(told, configs.EventKinds) {
		t.Errorf("told are %v, and hooks may name %v", told, configs.EventKinds)
	}
	if hooks.AllEvents != configs.AllEvents {
		t.Errorf("all events are %q for hooks and %q in the configuration", hooks.AllEvents, configs.AllEvents)
	}
}
