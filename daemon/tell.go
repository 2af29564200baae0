package daemon

import (
	"context"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"sandpool/daemon/events"
	"sandpool/daemon/hooks"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/checkpoint"
)

// What became of an attempt to save a claim's sandbox, and of what was saved: these join the pools' kinds of events.
const (
	eventCheckpoint        = "checkpoint"
	eventCheckpointFailed  = "checkpoint_failed"
	eventCheckpointDeleted = "checkpoint_deleted"
)

// teller tells everybody what happens to claims: the log of events, the hooks, the journal and the metrics. Who tells it
// something waits for none of them.
type teller struct {
	events *events.Log
	hooks  *hooks.Hooks
	// told is told of each event after the others were.
	told func(wire.Event)
	log  *slog.Logger

	more  chan struct{} // one slot: there is something in the queue
	mu    sync.Mutex
	queue []wire.Event
}

func newTeller(log *events.Log, hooks *hooks.Hooks, told func(wire.Event), journal *slog.Logger) *teller {
	return &teller{events: log, hooks: hooks, told: told, log: journal, more: make(chan struct{}, 1)}
}

// tell queues an event.
func (t *teller) tell(e wire.Event) {
	e.Time = time.Now().UTC()
	t.mu.Lock()
	t.queue = append(t.queue, e)
	t.mu.Unlock()
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// run passes events on until ctx ends, and then those that are queued.
func (t *teller) run(ctx context.Context) {
	for {
		select {
		case <-t.more:
			t.pass()
		case <-ctx.Done():
			t.pass()
			return
		}
	}
}

func (t *teller) pass() {
	t.mu.Lock()
	queue := t.queue
	t.queue = nil
	t.mu.Unlock()
	for _, e := range queue {
		e = t.events.Append(e)
		t.hooks.Tell(e)
		t.journal(e)
		t.told(e)
	}
}

// journal writes an event to the journal. That a claim was made or released is there already, as a request.
func (t *teller) journal(e wire.Event) {
	level := slog.LevelInfo
	switch e.Kind {
	case pool.EventClaimed, pool.EventReleased:
		level = slog.LevelDebug
	case pool.EventDied, eventCheckpointFailed, eventImageFailed:
		level = slog.LevelWarn
	case pool.EventKillFailed:
		level = slog.LevelError
	}
	t.log.Log(context.Background(), level, "event", "kind", e.Kind, "claim", e.Claim, "sandbox", e.Sandbox, "pool", e.Pool, "message", e.Message)
}

// claimEvent is an event of a pool's as the API shows it.
func claimEvent(e pool.Event) wire.Event {
	detail := map[string]string{}
	lease := e.Claim.Lease
	switch e.Kind {
	case pool.EventClaimed:
		detail["tier"] = e.Claim.Tier
		if e.Claim.From != "" {
			detail["checkpoint"] = e.Claim.From
		}
	case pool.EventWarning:
		detail["time_left"] = time.Until(lease.ExpiresAt).Round(time.Second).String()
		detail["actions"] = strings.Join(actions(lease), ",")
	case pool.EventExtended:
		detail["extended"] = strconv.Itoa(lease.Extended)
	case pool.EventDied, pool.EventStopped:
		detail["reason"] = e.Claim.Reason
	case pool.EventKilled:
		detail["reason"] = e.Reason
	}
	switch e.Kind {
	case pool.EventClaimed, pool.EventWarning, pool.EventExtended, pool.EventGrace:
		detail["expires_at"] = lease.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if e.Claim.Saved != "" {
		detail["checkpoint"] = e.Claim.Saved
	}
	return eventOf(e.Kind, e.Claim, e.Message, detail)
}

// checkpointEvent is how an attempt to save a claim's sandbox went.
func checkpointEvent(claim pool.Claim, m checkpoint.Manifest, trigger string, err error) wire.Event {
	detail := map[string]string{"trigger": trigger}
	if err != nil {
		detail["reason"] = err.Error()
		return eventOf(eventCheckpointFailed, claim, err.Error(), detail)
	}
	maps.Copy(detail, map[string]string{"checkpoint": m.ID, "bytes": strconv.FormatInt(m.Bytes, 10)})
	return eventOf(eventCheckpoint, claim, "saved as "+m.ID, detail)
}

// prunedEvent tells the owner of a checkpoint that the daemon deleted it, and why.
func prunedEvent(p checkpoint.Pruned) wire.Event {
	why := map[string]string{
		checkpoint.WhyAge:   "it was older than checkpoints.max_age",
		checkpoint.WhyOwner: "its owner has newer ones, and no more than checkpoints.max_count_per_user and max_mib_per_user are kept of an owner",
		checkpoint.WhyTotal: "its owner takes the most, and no more than checkpoints.max_count and max_mib are kept of all",
	}[p.Why]
	return wire.Event{
		Kind: eventCheckpointDeleted, Claim: p.Claim, Sandbox: p.Sandbox, Pool: p.Pool, Owner: p.Owner, Message: p.ID + " was deleted: " + why,
		Detail: map[string]string{"checkpoint": p.ID, "trigger": p.Trigger, "bytes": strconv.FormatInt(p.Bytes, 10), "reason": p.Why},
	}
}

func eventOf(kind string, claim pool.Claim, message string, detail map[string]string) wire.Event {
	return wire.Event{
		Kind: kind, Claim: claim.ID, Sandbox: claim.Sandbox, Pool: claim.Pool, Owner: claim.Owner, Message: message, Detail: detail,
	}
}
