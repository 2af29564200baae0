package pool

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/pool/label"
)

// byHand makes a sandbox be what another program made of it.
func (f *fakeBackend) byHand(id string, status Status) {
	f.locked(func() { f.sandboxes[id].status = status })
}

// TestClaimPausedByAnotherProgram is noticed by an event, by a listing, or by the next use at the latest, which wakes it.
func TestClaimPausedByAnotherProgram(t *testing.T) {
	notices := map[string]func(t *testing.T, r *rig, c Claim){
		"by an event": func(t *testing.T, r *rig, c Claim) { r.Look(t.Context(), c.Sandbox, Paused) },
		"by a listing": func(t *testing.T, r *rig, _ Claim) {
			if report, err := r.Reconcile(t.Context(), r.backend.list); err != nil || report != (Report{}) {
				t.Errorf("report %+v, %v", report, err)
			}
		},
		"by its use": nil,
	}
	for name, notice := range notices {
		t.Run(name, func(t *testing.T) {
			inPool(t, func(t *testing.T, r *rig) {
				claim := claimOf(t, r)
				r.backend.byHand(claim.Sandbox, Paused)
				if notice != nil {
					notice(t, r, claim)
					if got, err := r.Get(claim.ID); err != nil || got.Rest != IdlePaused {
						t.Errorf("claim is %+v, %v; want it listed as paused", got, err)
					}
				}
				used, done, err := r.Use(t.Context(), claim.ID)
				if err != nil || used.Rest != Awake || r.backend.sandboxes[claim.Sandbox].status != Running {
					t.Fatalf("use: %+v, %v; want it to run", used, err)
				}
				done()
				if want := []string{EventClaimed, EventPaused, EventResumed}; !slices.Equal(r.kinds(), want) {
					t.Errorf("events %v, want %v", r.kinds(), want)
				}
			})
		})
	}
}

// TestClaimResumedByAnotherProgram is put to rest and used as one that runs: neither is done to it twice.
func TestClaimResumedByAnotherProgram(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		for range 2 {
			if err := r.Pause(t.Context(), claim.ID); err != nil {
				t.Fatal(err)
			}
			r.backend.byHand(claim.Sandbox, Running)
		}
		if err := r.Suspend(t.Context(), claim.ID, func(context.Context, Claim) (string, error) {
			if got := r.backend.sandboxes[claim.Sandbox].status; got != Paused {
				t.Errorf("it is saved while it is %s", got)
			}
			return "", errBroken
		}); !errors.Is(err, errBroken) {
			t.Errorf("suspend: %v", err)
		}
		r.backend.byHand(claim.Sandbox, Running)
		if _, done, err := r.Use(t.Context(), claim.ID); err != nil {
			t.Error(err)
		} else {
			done()
		}
	})
}

// TestLookAtWhatTheControllerChanges is told late of what it did itself.
func TestLookAtWhatTheControllerChanges(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		r.Look(t.Context(), claim.Sandbox, Paused) // of the pause in the pool
		r.Look(t.Context(), "sb-unknown", Paused)
		go func() { _ = r.Pause(t.Context(), claim.ID) }()
		time.Sleep(r.backend.labelTime + r.backend.pauseTime/2) // in the middle of it
		r.Look(t.Context(), claim.Sandbox, Paused)
		settled()
		if want := []string{EventClaimed, EventPaused}; !slices.Equal(r.kinds(), want) {
			t.Errorf("events %v, want %v", r.kinds(), want)
		}
		if s := r.Status()[0]; s.Counters.Died != 0 {
			t.Errorf("%d died", s.Counters.Died)
		}
	})
}

// TestPoolChangedByAnotherProgram replaces what is not as it should be.
func TestPoolChangedByAnotherProgram(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		var id string
		for id = range r.backend.ids() {
			break
		}
		r.backend.byHand(id, Running)
		r.Look(t.Context(), id, Running)
		settled()
		if r.backend.ids()[id] {
			t.Error("a sandbox that was resumed in the pool is there still")
		}
	})
}

// TestClaimThatCannotBeLookedAt is refused for now and lives on.
func TestClaimThatCannotBeLookedAt(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		r.backend.fails("status", context.DeadlineExceeded)
		if _, _, err := r.Use(t.Context(), claim.ID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("use: %v", err)
		}
		if err := r.Pause(t.Context(), claim.ID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("pause: %v", err)
		}
		r.backend.fails("", nil)
		if got, done, err := r.Use(t.Context(), claim.ID); err != nil || got.State != Claimed {
			t.Errorf("use: %+v, %v", got, err)
		} else {
			done()
		}
	})
}

// TestPromise is there from before the label until the hand-out is done, and no longer.
func TestPromise(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		var at []string
		r.backend.locked(func() {
			r.backend.fail = func(call, id string) error {
				if s := r.backend.sandboxes[id]; s != nil && s.promised {
					at = append(at, call)
				}
				return nil
			}
		})
		claim := claimOf(t, r)
		if want := []string{"label", "resume", "fulfil"}; !slices.Equal(at, want) {
			t.Errorf("promised at %v, want %v", at, want)
		}
		if r.backend.sandboxes[claim.Sandbox].promised {
			t.Error("an answered claim is promised only")
		}
		r.backend.fails("fulfil", errBroken) // else a restart would take the answer back
		req := request()
		req.Wait = 0
		if _, _, err := r.Claim(t.Context(), req); !errdefs.IsResourceExhausted(err) {
			t.Errorf("claim of what stays promised: %v", err)
		}
		settled()
		r.backend.fails("promise", errBroken)
		claimOf(t, r)
	})
}

// TestEveryClaimThatEndsAtAStartIsTold finds sandboxes that are destroyed, and tells their owners why.
func TestEveryClaimThatEndsAtAStartIsTold(t *testing.T) {
	ending := record(Claimed)
	ending.State, ending.Reason = Terminating, expired
	garbled := record(Claimed).Labels()
	garbled[label.Stage] = "?"
	for name, test := range map[string]struct {
		sandbox fakeSandbox
		want    string // part of the reason
	}{
		"never answered":     {fakeSandbox{labels: record(Claimed).Labels(), status: Running, promised: true}, neverAnswered},
		"its end was begun":  {fakeSandbox{labels: ending.Labels(), status: Running}, expired},
		"its labels are bad": {fakeSandbox{labels: garbled, status: Running}, label.Stage},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newFakeBackend(t)
				backend.sandboxes["sb-1"] = &test.sandbox
				r := newRig(t, backend, onePool(0, 1))
				r.run(t)
				settled()
				if len(r.events) != 1 || r.events[0].Kind != EventKilled || r.events[0].Claim.ID != "c-1" || r.events[0].Claim.Owner != "uid:0" ||
					!strings.Contains(r.events[0].Reason, test.want) {
					t.Errorf("events %+v, want that c-1 was killed: %s", r.events, test.want)
				}
				r.stop()
			})
		})
	}
}

// TestReasonOfAnEndIsWrittenDown before the sandbox is destroyed, for the next start.
func TestReasonOfAnEndIsWrittenDown(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		r.backend.fails("destroy", errBroken)
		r.End(claim.ID, "it was idle for too long")
		synctest.Wait()
		settled()
		labels := maps.Clone(r.backend.labels()[claim.Sandbox])
		if labels[LabelState] != string(Terminating) || labels[LabelReason] != "it was idle for too long" {
			t.Errorf("labels %v", labels)
		}
		r.backend.fails("", nil)
	})
}

// TestContainerDeletedByAnotherProgram ends claims with an event, suspended ones too.
func TestContainerDeletedByAnotherProgram(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		awake, onDisk := claimOf(t, r), suspendedClaim(t, r)
		r.backend.locked(func() { clear(r.backend.sandboxes) })
		report, err := r.Reconcile(t.Context(), r.backend.list)
		if err != nil || report.Dead != 2 {
			t.Errorf("report %+v, %v; want 2 dead", report, err)
		}
		for _, c := range []Claim{awake, onDisk} {
			if got, err := r.Get(c.ID); err != nil || got.State != Dead || !strings.Contains(got.Reason, "container was deleted") {
				t.Errorf("claim is %+v, %v", got, err)
			}
		}
	})
}
