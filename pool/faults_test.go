package pool

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

func TestStartsThatFailAreDelayedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		attempts, mend := 0, false
		backend.fail = func(call, _ string) error {
			if call == "start" && !mend {
				attempts++
				return errors.New("no such image")
			}
			return nil
		}
		r := newRig(t, backend, onePool(4, 8))
		r.run(t)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if attempts > 40 {
			t.Errorf("%d attempts in ten minutes: it spins", attempts)
		}
		if s := r.Status()[0]; s.Degraded == "" || s.Total > 1 {
			t.Errorf("status %+v, want degraded with the reason", s)
		}
		began := time.Now()
		if _, _, err := r.Claim(t.Context(), request()); !errdefs.IsResourceExhausted(err) || time.Since(began) > 0 {
			t.Errorf("claim: %v after %s, want a refusal at once", err, time.Since(began))
		}
		backend.locked(func() { mend = true })
		settled()
		if s := r.Status()[0]; s.Degraded != "" || s.Available != 4 {
			t.Errorf("status %+v, want the pool full again", s)
		}
		if len(backend.sandboxes) != 4 {
			t.Errorf("%d sandboxes exist, want 4", len(backend.sandboxes))
		}
		r.stop()
	})
}

func TestDestroyIsTriedUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		failures := 5
		backend.fail = func(call, _ string) error {
			if call == "destroy" && failures > 0 {
				failures--
				return errors.New("busy")
			}
			return nil
		}
		r := newRig(t, backend, onePool(1, 4))
		r.run(t)
		settled()
		claim := r.claimOne(t)
		if err := r.Release(t.Context(), claim.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Get(claim.ID); !errdefs.IsNotFound(err) {
			t.Errorf("released claim: %v, want not found", err)
		}
		settled()
		if backend.sandboxes[claim.Sandbox] != nil || failures != 0 {
			t.Errorf("sandbox is left, %d failures to come", failures)
		}
		r.stop()
	})
}

func TestDeathInEachState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(2, 8))
		r.run(t)
		settled()
		claim := r.claimOne(t)
		settled()
		found, _ := r.backend.list(t.Context())
		for _, f := range found {
			r.backend.end(f.ID)
			r.Died(f.ID, "its sentry was killed")
		}
		settled()
		dead, err := r.Get(claim.ID)
		if err != nil || dead.State != Dead || dead.Reason != "its sentry was killed" {
			t.Errorf("claim %+v, %v; want it dead with the reason", dead, err)
		}
		if got := r.backend.sandboxes[claim.Sandbox].labels; got[LabelState] != string(Dead) || got[LabelReason] != dead.Reason {
			t.Errorf("labels %v, want the death written down", got)
		}
		if s := r.Status()[0]; s.Available != 2 || s.InUse != 0 || s.Counters.Died != 2 {
			t.Errorf("status %+v, want the two in the pool replaced", s)
		}
		r.Expire(claim.ID)
		if len(r.Claims()) != 1 {
			t.Error("the claim ended before its time was over")
		}
		time.Sleep(hour.Lifetime)
		r.Expire(claim.ID)
		settled()
		if len(r.Claims()) != 0 || len(r.backend.sandboxes) != 2 {
			t.Errorf("%d claims and %d sandboxes after the expiry, want 0 and 2", len(r.Claims()), len(r.backend.sandboxes))
		}
		r.stop()
	})
}

func TestOutageStopsClaimsAndStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(2, 8))
		r.run(t)
		settled()
		claim := r.claimOne(t)
		_ = r.SetOutage(fmt.Errorf("containerd is gone: %w", errdefs.ErrUnavailable))
		if _, _, err := r.Claim(t.Context(), request()); !errdefs.IsUnavailable(err) {
			t.Errorf("claim: %v, want unavailable", err)
		}
		if err := r.Release(t.Context(), claim.ID); !errdefs.IsUnavailable(err) {
			t.Errorf("release: %v, want unavailable", err)
		}
		_ = r.SetOutage(nil)
		if err := r.Release(t.Context(), claim.ID); err != nil {
			t.Error(err)
		}
		if _, _, err := r.Claim(t.Context(), request()); err != nil {
			t.Error(err)
		}
		r.stop()
	})
}

func TestDeathIsWrittenDownInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(1, 4))
		r.run(t)
		settled()
		claim := r.claimOne(t)
		failures := 3
		r.backend.locked(func() {
			r.backend.fail = func(call, id string) error {
				if call == "label" && id == claim.Sandbox && failures > 0 {
					failures--
					return errBroken
				}
				return nil
			}
		})
		r.backend.end(claim.Sandbox)
		r.Died(claim.Sandbox, "killed")
		settled()
		if got := r.backend.labels()[claim.Sandbox]; got[LabelState] != string(Dead) || got[LabelReason] != "killed" {
			t.Errorf("labels %v, want the death written down after three failures", got)
		}
		r.stop()
	})
}

func TestReleaseThatLeftNoTraceIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(1, 4))
		r.run(t)
		settled()
		claim := r.claimOne(t)
		gone := fmt.Errorf("containerd is gone: %w", errdefs.ErrUnavailable)
		fail := func(err error) {
			r.backend.locked(func() { r.backend.fail = func(string, string) error { return err } })
		}
		fail(gone)
		if err := r.Release(t.Context(), claim.ID); !errdefs.IsUnavailable(err) {
			t.Errorf("release: %v, want the error", err)
		}
		fail(nil)
		settled()
		if r.backend.ids()[claim.Sandbox] {
			t.Error("the sandbox was not destroyed in the end")
		}
		r.stop()
	})
}
