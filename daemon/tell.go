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
	"sandpool/lifetime/wait"
	"sandpool/pool"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/image"
)

// What became of an attempt to save a claim's sandbox, and of what was saved: these join the pools' kinds of events.
const (
	eventCheckpoint        = "checkpoint"
	eventCheckpointFailed  = "checkpoint_failed"
	eventCheckpointDeleted = "checkpoint_deleted"
)

// newsKinds are the kinds whose count begins at zero: an alert would not see the first one else.
var newsKinds = []string{
	pool.EventWarning, pool.EventExtended, pool.EventGrace, pool.EventKilled, pool.EventKillFailed,
	eventCheckpoint, eventCheckpointFailed, eventCheckpointDeleted, eventDenied,
}

// news is something that happened, in the words of whom it happened to. It is encoded when it is told.
type news interface {
	event(at time.Time) wire.Event
}

// What there is news of.
type (
	ofClaim  pool.Event
	ofPruned checkpoint.Pruned
	ofImage  image.Status
	// ofSave is an attempt to save a claim's sandbox.
	ofSave struct {
		claim   pool.Claim
		saved   checkpoint.Manifest
		trigger string
		err     error
	}
	// ofVanished is a claim that has ended while nobody looked; it is known from the event that told its beginning.
	ofVanished wire.Event
)

// queue holds what happened until it is told. It is made before all that puts something into it, and who does waits for nobody.
type queue struct {
	loop *wait.Loop // of who tells it
	mu   sync.Mutex
	all  []queued
}

type queued struct {
	news
	at time.Time
}

func newQueue() *queue { return &queue{loop: wait.NewLoop()} }

// put adds what has just happened.
func (q *queue) put(n news) {
	q.mu.Lock()
	q.all = append(q.all, queued{n, time.Now().UTC()})
	q.mu.Unlock()
	q.loop.Wake()
}

func (q *queue) take() []queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.all
	q.all = nil
	return all
}

// teller tells everybody what happened: the log of events, the hooks, the journal and the metrics.
type teller struct {
	queue  *queue
	events *events.Log
	hooks  *hooks.Hooks
	count  func(kind string)
	// ended is told of each claim that has ended, after its event was told.
	ended func(pool.Claim)
	log   *slog.Logger
}

// run passes events on until ctx ends, and then those that are queued.
func (t *teller) run(ctx context.Context) {
	t.queue.loop.Run(ctx, t.pass)
	t.pass()
}

// pass passes on what is queued.
func (t *teller) pass() time.Duration {
	for _, q := range t.queue.take() {
		e := q.event(q.at)
		e.Time = q.at
		e = t.events.Append(e)
		t.hooks.Tell(e)
		t.journal(e)
		t.count(e.Kind)
		if c, ok := q.news.(ofClaim); ok && (c.Kind == pool.EventReleased || c.Kind == pool.EventKilled) {
			t.ended(c.Claim)
		}
	}
	return wait.Never
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

// event is an event of a pool's as the API shows it.
func (e ofClaim) event(at time.Time) wire.Event {
	detail := map[string]string{}
	lease := e.Claim.Lease
	switch e.Kind {
	case pool.EventClaimed:
		detail["tier"] = e.Claim.Tier
		if e.Claim.From != "" {
			detail["checkpoint"] = e.Claim.From
		}
	case pool.EventWarning:
		detail["time_left"] = lease.ExpiresAt.Sub(at).Round(time.Second).String()
		detail["actions"] = strings.Join(actions(lease, at), ",")
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

// event is how an attempt to save a claim's sandbox went.
func (s ofSave) event(time.Time) wire.Event {
	detail := map[string]string{"trigger": s.trigger}
	if s.err != nil {
		detail["reason"] = s.err.Error()
		return eventOf(eventCheckpointFailed, s.claim, s.err.Error(), detail)
	}
	maps.Copy(detail, map[string]string{"checkpoint": s.saved.ID, "bytes": strconv.FormatInt(s.saved.Bytes, 10)})
	return eventOf(eventCheckpoint, s.claim, "saved as "+s.saved.ID, detail)
}

// event tells the owner of a checkpoint that the daemon deleted it, and why.
func (p ofPruned) event(time.Time) wire.Event {
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
