package pool

import "fmt"

// The kinds of events that the controller tells of.
const (
	EventClaimed    = "claimed"
	EventReleased   = "released"
	EventExtended   = "extended"
	EventWarning    = "warning" // its end comes near
	EventGrace      = "grace"   // it is being saved and stopped
	EventStopped    = "stopped" // its processes ended in the grace period
	EventKilled     = "killed"  // its sandbox is gone, and its owner did not ask for that
	EventKillFailed = "kill_failed"
	EventDied       = "died"
	EventPaused     = "paused"
	EventResumed    = "resumed"
	EventSuspended  = "suspended"
	EventRestored   = "restored" // it was woken from disk
)

// Event is something that happened to a claim.
type Event struct {
	Kind    string
	Claim   Claim
	Message string
	Reason  string // of EventKilled
}

// tellEndLocked tells how one attempt to destroy the sandbox of a claim went. That of a released one is told when it is asked
// for, but for an attempt that failed.
func (c *Controller) tellEndLocked(s *sandbox, err error) {
	switch {
	case s.record.Grant.ID == "":
	case err != nil:
		c.tell(Event{Kind: EventKillFailed, Claim: s.claim(), Message: fmt.Sprintf("attempt %d to destroy it failed; it is tried again: %v", s.attempts, err)})
	case s.why != released:
		c.tell(Event{Kind: EventKilled, Claim: s.claim(), Message: s.why + "; its sandbox is gone", Reason: s.why})
	}
}
