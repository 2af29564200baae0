package daemon

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"sandpool/configs"
	"sandpool/daemon/events"
	"sandpool/daemon/hooks"
	"sandpool/pool"
)

// TestHooksKnowAllEvents compares what is told with what a hook can be configured for.
func TestHooksKnowAllEvents(t *testing.T) {
	told := []string{
		pool.EventClaimed, pool.EventReleased, pool.EventExtended, pool.EventWarning, pool.EventGrace, eventCheckpoint, eventCheckpointFailed, eventCheckpointDeleted,
		pool.EventStopped, pool.EventKilled, pool.EventKillFailed, pool.EventDied, pool.EventPaused, pool.EventResumed, pool.EventSuspended,
		pool.EventRestored, eventDenied, eventImagePulled, eventImageFailed,
	}
	if !slices.Equal(told, configs.EventKinds) {
		t.Errorf("told are %v, and hooks may name %v", told, configs.EventKinds)
	}
	if hooks.AllEvents != configs.AllEvents {
		t.Errorf("all events are %q for hooks and %q in the configuration", hooks.AllEvents, configs.AllEvents)
	}
}

// TestEndOfAClaimIsActedOn: what a claim would have been woken from is done with once its end was told, and not before or for less.
func TestEndOfAClaimIsActedOn(t *testing.T) {
	log, err := events.Open(t.TempDir(), 100, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	q, counted, ended := newQueue(), []string{}, []string{}
	teller := &teller{
		queue: q, events: log, hooks: hooks.New(nil, func(int, string) {}, slog.New(slog.DiscardHandler)), log: slog.New(slog.DiscardHandler),
		count: func(kind string) { counted = append(counted, kind) },
		ended: func(c pool.Claim) {
			if told, _, err := log.After(""); err != nil || told[len(told)-1].Claim != c.ID {
				t.Errorf("the end of %s is acted on before it is told: %v", c.ID, err)
			}
			ended = append(ended, c.Saved)
		},
	}
	claim := func(id string) pool.Claim { return pool.Claim{Grant: pool.Grant{ID: id}, Saved: "ck-" + id} }
	q.put(ofClaim{Kind: pool.EventSuspended, Claim: claim("c-1")})
	q.put(ofClaim{Kind: pool.EventKilled, Claim: claim("c-1")})
	q.put(ofClaim{Kind: pool.EventReleased, Claim: claim("c-2")})
	q.put(ofClaim{Kind: pool.EventKillFailed, Claim: claim("c-3")})
	q.put(ofVanished{Claim: "c-4"})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	teller.run(ctx) // passes on what is queued
	if want := []string{"suspended", "killed", "released", "kill_failed", "killed"}; !slices.Equal(counted, want) {
		t.Errorf("counted %q, want %q", counted, want)
	}
	if want := []string{"ck-c-1", "ck-c-2"}; !slices.Equal(ended, want) {
		t.Errorf("acted on the end of what is saved as %q, want %q", ended, want)
	}
}
