package pool

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestClockWasSetBack lets a daemon find a sandbox that its label says will be created in a year. It may be used, but
// must age from now on like any other.
func TestClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		cfg := onePool(1, 4)
		cfg.MaxAge, cfg.RefreshAge = time.Hour, 54*time.Minute
		r := newRig(t, backend, cfg)
		old := record(Available)
		old.CreatedAt = time.Now().AddDate(1, 0, 0)
		backend.sandboxes["sb-old"] = &fakeSandbox{labels: old.Labels(), status: Paused}
		if got, err := r.Reconcile(t.Context(), backend.list); err != nil || got.Warm != 1 {
			t.Fatalf("report %+v, %v; want it adopted", got, err)
		}
		r.run(t)
		time.Sleep(cfg.MaxAge)
		settled()
		if backend.ids()["sb-old"] {
			t.Error("it is left after its maximum age")
		}
		if s := r.Status()[0]; s.Available != 1 {
			t.Errorf("status %+v, want one available", s)
		}
		r.stop()
	})
}
