package pool

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
)

// fails has every call of one kind fail.
func (f *fakeBackend) fails(kind string, err error) {
	f.locked(func() {
		f.fail = func(call, _ string) error {
			if call == kind {
				return err
			}
			return nil
		}
	})
}

// suspendedClaim is a claim that is on disk as "ck-1".
func suspendedClaim(t *testing.T, r *rig) Claim {
	t.Helper()
	claim := claimOf(t, r)
	if err := r.Pause(t.Context(), claim.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Suspend(t.Context(), claim.ID, saved("ck-1")); err != nil {
		t.Fatal(err)
	}
	return claim
}

// TestClientThatLeavesARetirement hangs up at every moment of it: the claim ends saved, or lives on.
func TestClientThatLeavesARetirement(t *testing.T) {
	for _, moment := range []string{"label", "pause", "save"} {
		t.Run(moment, func(t *testing.T) {
			inPool(t, func(t *testing.T, r *rig) {
				claim := claimOf(t, r)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				r.backend.locked(func() {
					r.backend.fail = func(call, _ string) error {
						if call == moment {
							leave()
						}
						return nil
					}
				})
				err := r.Retire(ctx, claim.ID, func(ctx context.Context, _ Claim) (string, error) {
					leave()
					return "", context.Cause(ctx)
				})
				if err == nil {
					t.Fatal("it was retired without having been saved")
				}
				synctest.Wait()
				if got, err := r.Get(claim.ID); err != nil || got.State != Claimed || got.Rest != Awake || r.backend.sandboxes[claim.Sandbox].status != Running {
					t.Errorf("claim is %+v, %v; want it to run on", got, err)
				}
			})
		})
	}
}

func TestRetireOfASuspendedClaim(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := suspendedClaim(t, r)
		var seen Claim
		err := r.Retire(t.Context(), claim.ID, func(_ context.Context, c Claim) (string, error) {
			seen = c
			return c.Saved, nil
		})
		if err != nil || seen.Rest != Suspended || seen.Saved != "ck-1" {
			t.Errorf("retire: %v; saved was asked of %+v, want it suspended as ck-1", err, seen)
		}
		settled()
		if len(r.Claims()) != 0 {
			t.Error("the claim is still there")
		}
		if want := []string{EventClaimed, EventPaused, EventSuspended, EventReleased}; !slices.Equal(r.kinds(), want) {
			t.Errorf("events %v, want %v", r.kinds(), want)
		}
	})
}

// TestSuspensionThatIsNotHalted is on disk whole, and is woken from there.
func TestSuspensionThatIsNotHalted(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := claimOf(t, r)
		r.backend.fails("halt", errBroken)
		if err := r.Suspend(t.Context(), claim.ID, saved("ck-1")); err == nil {
			t.Error("the failed halt is not told")
		}
		if got, err := r.Get(claim.ID); err != nil || got.State != Claimed || got.Rest != Suspended || got.Saved != "ck-1" {
			t.Errorf("claim is %+v, %v; want it suspended as ck-1", got, err)
		}
		r.backend.fails("", nil)
		got, done, err := r.Use(t.Context(), claim.ID)
		if err != nil || got.Rest != Awake {
			t.Fatalf("use: %+v, %v", got, err)
		}
		done()
	})
}

// TestSuspendedClaimWhoseCheckpointIsGone is dead, with the reason; a checkpoint that only cannot be used now is tried again.
func TestSuspendedClaimWhoseCheckpointIsGone(t *testing.T) {
	inPool(t, func(t *testing.T, r *rig) {
		claim := suspendedClaim(t, r)
		r.backend.fails("revive", errdefs.ErrFailedPrecondition.WithMessage("another runsc"))
		if _, _, err := r.Use(t.Context(), claim.ID); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("use: %v", err)
		}
		if got, err := r.Get(claim.ID); err != nil || got.State != Claimed || got.Rest != Suspended {
			t.Errorf("claim is %+v, %v; want it suspended still", got, err)
		}
		r.backend.fails("revive", errdefs.ErrNotFound.WithMessage("checkpoint ck-1 is gone"))
		if _, _, err := r.Use(t.Context(), claim.ID); !errdefs.IsNotFound(err) {
			t.Errorf("use: %v", err)
		}
		if got, err := r.Get(claim.ID); err != nil || got.State != Dead || !strings.Contains(got.Reason, "ck-1 is gone") {
			t.Errorf("claim is %+v, %v; want it dead for that reason", got, err)
		}
	})
}
