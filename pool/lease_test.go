package pool

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime"
	"sandpool/pool/label"
)

// ladder is a lifetime type with every rung.
var ladder = lifetime.Type{Lifetime: time.Hour, Warning: 10 * time.Minute, Grace: time.Minute, Extensions: 2}

// claimOf claims a sandbox whose time is of the type ladder.
func claimOf(t *testing.T, r *rig) Claim {
	t.Helper()
	req := request()
	req.Lifetime = ladder
	claim, _, err := r.Claim(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

// kinds are the events that the rig was told, in their order.
func (r *rig) kinds() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []string
	for _, e := range r.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func (r *rig) labelsOf(id string) map[string]string { return r.backend.labels()[id] }

// inPool runs a test against a running pool of two.
func inPool(t *testing.T, test func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(2, 4))
		r.run(t)
		settled()
		test(t, r)
		r.stop()
	})
}

func TestExtend(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		if _, err := r.Extend(t.Context(), claim.ID, 31*time.Minute); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "want at most 30m0s") {
			t.Errorf("by more than half of its lifetime: error %v, want one of class InvalidArgument", err)
		}
		for n := 1; n <= ladder.Extensions; n++ {
			got, err := r.Extend(t.Context(), claim.ID, 0)
			want := claim.Lease.ExpiresAt.Add(time.Duration(n) * 30 * time.Minute)
			if err != nil || got.Lease.Extended != n || !got.Lease.ExpiresAt.Equal(want) {
				t.Fatalf("extension %d: %+v, %v; want the end at %s", n, got.Lease, err, want)
			}
			if on := r.labelsOf(claim.Sandbox)[label.Expires]; on != label.FormatTime(want) {
				t.Errorf("label says %s, want %s", on, label.FormatTime(want))
			}
			if !r.deadlines.at[claim.ID].Equal(want) {
				t.Errorf("deadline is %s, want %s", r.deadlines.at[claim.ID], want)
			}
		}
		if _, err := r.Extend(t.Context(), claim.ID, 0); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("one more: error %v, want one of class FailedPrecondition", err)
		}
		if _, err := r.Extend(t.Context(), "c-none", 0); !errdefs.IsNotFound(err) {
			t.Errorf("unknown claim: %v, want NotFound", err)
		}
	})
}

// TestExtendByLess puts an end off by ten minutes of the thirty that may be.
func TestExtendByLess(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		got, err := r.Extend(t.Context(), claim.ID, 10*time.Minute)
		if want := claim.Lease.ExpiresAt.Add(10 * time.Minute); err != nil || got.Lease.Extended != 1 || !got.Lease.ExpiresAt.Equal(want) {
			t.Errorf("%+v, %v; want the end at %s", got.Lease, err, want)
		}
	})
}

// TestExtendRacesTheEnd lets an extension be written down while the claim's time runs out.
func TestExtendRacesTheEnd(t *testing.T) {
	for _, early := range []time.Duration{time.Millisecond, 5 * time.Millisecond} { // writing it down takes 2 ms
		inPool(t, func(t *testing.T, r *rig) {
			claim := claimOf(t, r)
			time.Sleep(time.Until(claim.Lease.ExpiresAt) - early)
			won := make(chan error, 1)
			go func() {
				_, err := r.Extend(t.Context(), claim.ID, 0)
				won <- err
			}()
			time.Sleep(early)
			r.Expire(claim.ID)
			err := <-won
			settled()
			switch got, getErr := r.Get(claim.ID); {
			case err == nil && (getErr != nil || got.Lease.Extended != 1 || r.labelsOf(claim.Sandbox) == nil):
				t.Errorf("%s before the end the extension won, but the claim is %+v, %v", early, got, getErr)
			case err != nil && (getErr == nil || r.labelsOf(claim.Sandbox) != nil):
				t.Errorf("%s before the end the extension lost (%v), but the claim lives", early, err)
			}
		})
	}
}

func TestAdvance(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		ok, err := r.Advance(t.Context(), claim.ID, claim.Lease, lifetime.Warned)
		if !ok || err != nil || r.labelsOf(claim.Sandbox)[label.Stage] != string(lifetime.Warned) {
			t.Fatalf("advance: %v, %v, label %q", ok, err, r.labelsOf(claim.Sandbox)[label.Stage])
		}
		if ok, err := r.Advance(t.Context(), claim.ID, claim.Lease, lifetime.Warned); ok || err != nil {
			t.Errorf("the same rung again: %v, %v", ok, err)
		}
		if _, err := r.Extend(t.Context(), claim.ID, 0); err != nil {
			t.Fatal(err)
		}
		warned := claim.Lease
		warned.Stage = lifetime.Warned
		if ok, err := r.Advance(t.Context(), claim.ID, warned, lifetime.Grace); ok || err != nil {
			t.Errorf("a lease that was extended meanwhile: %v, %v", ok, err)
		}
		now, _ := r.Lease(claim.ID)
		if ok, err := r.Advance(t.Context(), claim.ID, now, lifetime.Grace); !ok || err != nil {
			t.Fatalf("grace: %v, %v", ok, err)
		}
		if _, err := r.Extend(t.Context(), claim.ID, 0); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("extend in the grace period: %v", err)
		}
		r.backend.end(claim.Sandbox)
		r.Died(claim.Sandbox, "exited")
		lease, _ := r.Lease(claim.ID)
		if stage, at := lease.Next(); stage != lifetime.Over || !at.Equal(now.ExpiresAt) {
			t.Errorf("a dead claim comes next to %s at %s, want over at %s", stage, at, now.ExpiresAt)
		}
		settled()
		if want := []string{EventClaimed, EventWarning, EventExtended, EventGrace, EventStopped}; !slices.Equal(r.kinds(), want) {
			t.Errorf("events %v, want %v", r.kinds(), want)
		}
	})
}

func saved(name string) Save {
	return func(context.Context, Claim) (string, error) { return name, nil }
}

// TestRest puts a claim to rest as deep as it goes, restarts the daemon there, and uses it again.
func TestRest(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		_, done, err := r.Use(t.Context(), claim.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Pause(t.Context(), claim.ID); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("pause in use: %v", err)
		}
		done()
		if err := r.Pause(t.Context(), claim.ID); err != nil || r.backend.sandboxes[claim.Sandbox].status != Paused {
			t.Fatalf("pause: %v", err)
		}
		if err := r.Suspend(t.Context(), claim.ID, saved("ck-1")); err != nil || r.backend.sandboxes[claim.Sandbox].status != Stopped {
			t.Fatalf("suspend: %v", err)
		}
		r.Died(claim.Sandbox, "its processes ended") // as containerd tells
		if _, err := r.Reconcile(t.Context(), r.backend.list); err != nil {
			t.Fatal(err)
		}
		r.stop()

		next := newRig(t, r.backend, onePool(2, 4))
		next.run(t)
		got, done, err := next.Use(t.Context(), claim.ID)
		if err != nil || got.Rest != Awake || next.backend.sandboxes[claim.Sandbox].status != Running {
			t.Fatalf("use after the restart: %+v, %v", got, err)
		}
		done()
		if rest := next.labelsOf(claim.Sandbox)[LabelRest]; rest != "" {
			t.Errorf("woken sandbox is labelled %q", rest)
		}
		next.stop()
		if want := []string{EventClaimed, EventPaused, EventSuspended}; !slices.Equal(r.kinds(), want) {
			t.Errorf("events %v, want %v", r.kinds(), want)
		}
		if want := []string{EventRestored}; !slices.Equal(next.kinds(), want) {
			t.Errorf("events after the restart %v, want %v", next.kinds(), want)
		}
	})
}

// TestFailedSave keeps a claim whose sandbox could not be written to disk.
func TestFailedSave(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		full := func(context.Context, Claim) (string, error) { return "", errBroken }
		if err := r.Retire(t.Context(), claim.ID, full); !errors.Is(err, errBroken) {
			t.Errorf("retire: %v", err)
		}
		if got, err := r.Get(claim.ID); err != nil || got.Rest != Awake || r.backend.sandboxes[claim.Sandbox].status != Running {
			t.Errorf("claim %+v, %v; want it as it was", got, err)
		}
		if err := r.Suspend(t.Context(), claim.ID, full); !errors.Is(err, errBroken) {
			t.Errorf("suspend: %v", err)
		}
		if got, err := r.Get(claim.ID); err != nil || got.Rest != IdlePaused {
			t.Errorf("claim %+v, %v; want it paused", got, err)
		}
		if err := r.Retire(t.Context(), claim.ID, saved("ck-1")); err != nil {
			t.Errorf("retire: %v", err)
		}
		if state := r.labelsOf(claim.Sandbox)[LabelState]; state == string(Claimed) {
			t.Error("the claim was retired, but a daemon that is killed now would find it again")
		}
		settled()
		if r.labelsOf(claim.Sandbox) != nil || len(r.Claims()) != 0 {
			t.Error("a retired claim is still there")
		}
	})
}

// TestCheckpointGoesToItsClaimOnly gives up a restore in the middle: its sandbox holds somebody's data.
func TestCheckpointGoesToItsClaimOnly(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		req := request()
		req.Checkpoint = "ck-1"
		claim, _, err := r.Claim(t.Context(), req)
		if err != nil || claim.Tier != TierRestored || claim.From != "ck-1" || r.backend.sandboxes[claim.Sandbox].from != "ck-1" {
			t.Fatalf("claim %+v, %v", claim, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, _, err := r.Claim(ctx, req); err == nil {
			t.Fatal("the claim was granted before its sandbox had started")
		}
		settled()
		for id, s := range r.backend.sandboxes {
			if s.from != "" && id != claim.Sandbox {
				t.Errorf("sandbox %s of a checkpoint is left, labelled %q", id, s.labels[LabelState])
			}
		}
	})
}

// TestBrokenCheckpoint tells its claim why, and does no harm to the pool.
func TestBrokenCheckpoint(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		r.backend.locked(func() {
			r.backend.fail = func(call, _ string) error {
				if call == "start" {
					return errBroken
				}
				return nil
			}
		})
		req := request()
		req.Checkpoint = "ck-1"
		if _, _, err := r.Claim(t.Context(), req); !errors.Is(err, errBroken) {
			t.Errorf("error %v, want that of the restore", err)
		}
		if s := r.Status()[0]; s.Degraded != "" {
			t.Errorf("the pool is degraded: %s", s.Degraded)
		}
	})
}
