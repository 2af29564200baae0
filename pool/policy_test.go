package pool

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestGrowsUnderLoadAndDrainsInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := onePool(10, 20)
		cfg.Min = 4
		r := newRig(t, newFakeBackend(t), cfg)
		r.run(t)
		time.Sleep(10 * time.Second)
		var claims []Claim
		for range 7 { // the seventh makes it 70 %
			claim := r.claimOne(t)
			claims = append(claims, claim)
		}
		time.Sleep(5 * time.Second)
		if s := r.Status()[0]; s.InUse != 7 || s.Available != 5 {
			t.Errorf("at 70 %% of use: %+v, want it grown by 2 to 12", s)
		}
		for _, claim := range claims {
			if err := r.Release(t.Context(), claim.ID); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []int{9, 8, 7, 6, 5, 4, 4, 4} { // one at each sweep, a tenth of the target
			time.Sleep(sweepEvery)
			synctest.Wait()
			if s := r.Status()[0]; s.Available != want {
				t.Errorf("%d are available, want %d", s.Available, want)
			}
		}
		r.stop()
	})
}

func TestAdaptivePoolFollowsDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := onePool(2, 40)
		cfg.Min, cfg.Adaptive = 1, true
		backend := newFakeBackend(t)
		backend.startTime = 4 * time.Second
		r := newRig(t, backend, cfg)
		r.run(t)
		settled()
		for range 240 { // two claims a second for two minutes
			go func() {
				req := request()
				req.Lifetime = hour
				if claim, _, err := r.Claim(t.Context(), req); err == nil {
					_ = r.Release(t.Context(), claim.ID)
				}
			}()
			time.Sleep(500 * time.Millisecond)
		}
		synctest.Wait()
		if s := r.Status()[0]; s.Wanted < 6 {
			t.Errorf("under two claims a second and four seconds for a start: %+v, want at least 6", s)
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if s := r.Status()[0]; s.Available != 1 {
			t.Errorf("after silence: %+v, want the minimum", s)
		}
		r.stop()
	})
}

// TestRefreshNeverDips replaces a whole pool twice while it is looked at all the time.
func TestRefreshNeverDips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := onePool(4, 4) // no room to spare
		cfg.MaxAge, cfg.RefreshAge = time.Hour, 54*time.Minute
		r := newRig(t, newFakeBackend(t), cfg)
		r.run(t)
		time.Sleep(time.Minute)
		first := r.backend.ids()
		for range 2 * 60 * 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			if s := r.Status()[0]; s.Available < 4 {
				t.Fatalf("the pool dipped: %+v", s)
			}
		}
		for id := range r.backend.ids() {
			if first[id] {
				t.Errorf("%s was not replaced", id)
			}
		}
		if n := len(r.backend.ids()); n != 4 {
			t.Errorf("%d sandboxes exist, want 4", n)
		}
		r.stop()
	})
}

func TestTooOldIsNeverHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := onePool(2, 4)
		cfg.MaxAge, cfg.RefreshAge = time.Hour, 54*time.Minute
		r := newRig(t, newFakeBackend(t), cfg)
		r.run(t)
		time.Sleep(time.Minute)
		r.backend.locked(func() {
			r.backend.fail = func(call, _ string) error {
				if call == "start" {
					return errBroken
				}
				return nil
			}
		})
		time.Sleep(time.Hour)
		req := request()
		req.Wait = 0
		if claim, _, err := r.Claim(t.Context(), req); err == nil {
			t.Errorf("a sandbox of %s was handed out", time.Since(claim.CreatedAt))
		}
		r.stop()
	})
}

func TestHotSandboxesNeedNoResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := onePool(4, 8)
		cfg.Hot = 2
		r := newRig(t, newFakeBackend(t), cfg)
		r.run(t)
		settled()
		if s := r.Status()[0]; s.Available != 4 || s.Running != 2 {
			t.Errorf("status %+v, want 4 available, 2 of them hot", s)
		}
		began := time.Now()
		claim, _, err := r.Claim(t.Context(), request())
		if err != nil || claim.Tier != TierHot || time.Since(began) != r.backend.labelTime {
			t.Errorf("claim %+v, %v in %s; want a hot one for the price of a label", claim, err, time.Since(began))
		}
		settled()
		if s := r.Status()[0]; s.Running != 2 || s.Available != 3 {
			t.Errorf("status %+v, want the hot one replaced by a paused one", s)
		}
		if err := r.Resize("default", func(s *Size) { s.Hot = 0 }); err != nil {
			t.Error(err)
		}
		settled()
		if s := r.Status()[0]; s.Running != 0 || s.Available != 3 {
			t.Errorf("status %+v, want all paused again", s)
		}
		r.stop()
	})
}

func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		generic := onePool(1, 4)
		generic.Name, generic.Template = "local:generic", Generic
		r := newRig(t, newFakeBackend(t), onePool(0, 4), generic)
		r.run(t)
		settled()
		req := request()
		req.RequestID = "r1"
		if claim, _, err := r.Claim(t.Context(), req); err != nil || claim.Tier != TierCold || claim.Pool != "local:default" {
			t.Errorf("not allowed: %+v, %v", claim, err)
		}
		req.RequestID, req.Fallback = "r2", true
		for range 2 { // the second finds the first by its request id
			claim, _, err := r.Claim(t.Context(), req)
			if err != nil || claim.Tier != TierFallback || claim.Pool != "local:generic" || claim.Template != "default" {
				t.Errorf("allowed: %+v, %v", claim, err)
			}
		}
		r.stop()
	})
}

func TestReleaseKeepsOrGivesUpTheSlot(t *testing.T) {
	for recycle, want := range map[Recycle]int{RecycleReset: 6, RecycleDestroy: 5} {
		t.Run(string(recycle), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := onePool(5, 20)
				cfg.Recycle, cfg.ScaleDown = recycle, 0
				r := newRig(t, newFakeBackend(t), cfg)
				r.run(t)
				settled()
				var claims []Claim
				for range 4 { // the fourth makes it grow to 6
					claim := r.claimOne(t)
					claims = append(claims, claim)
				}
				settled()
				used := r.backend.ids()
				if err := r.Release(t.Context(), claims[0].ID); err != nil {
					t.Fatal(err)
				}
				settled()
				if s := r.Status()[0]; s.Total != want {
					t.Errorf("status %+v, want %d in all", s, want)
				}
				if r.backend.ids()[claims[0].Sandbox] || len(used) != 6 {
					t.Errorf("the used sandbox lives on, or %d are not 6", len(used))
				}
				r.stop()
			})
		})
	}
}

func TestLiveChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(4, 8))
		r.run(t)
		settled()
		claim := r.claimOne(t)
		expect := func(what string, available int) {
			t.Helper()
			settled()
			if s := r.Status()[0]; s.Available != available || s.InUse != 1 {
				t.Errorf("%s: %+v, want %d available and 1 in use", what, s, available)
			}
		}
		resize := func(change func(*Size)) {
			t.Helper()
			if err := r.Resize("default", change); err != nil {
				t.Error(err)
			}
		}
		resize(func(s *Size) { s.Min, s.Target = 6, 6 })
		expect("larger", 5)
		resize(func(s *Size) { s.Min, s.Target = 2, 2 })
		expect("smaller", 1)
		if err := r.Resize("default", func(s *Size) { s.Target = 99 }); err == nil {
			t.Error("a target over max was taken")
		}
		if err := r.Drain("default"); err != nil {
			t.Error(err)
		}
		expect("drained", 0)
		atOnce := request()
		atOnce.Wait = 0
		if _, _, err := r.Claim(t.Context(), atOnce); err == nil || !strings.Contains(err.Error(), "it is on hold, so nothing refills it") {
			t.Errorf("claim at once from a drained pool: error %v, want one that says that it is held", err)
		}
		if second, _, err := r.Claim(t.Context(), request()); err != nil || second.Tier != TierCold {
			t.Errorf("claim from a drained pool: %+v, %v", second, err)
		} else if err := r.Release(t.Context(), second.ID); err != nil {
			t.Error(err)
		}
		expect("still drained", 0)
		resize(func(s *Size) { s.Hold = false })
		expect("filled again", 1)

		newer := onePool(3, 8)
		newer.Source = build{fingerprint: "f2"}
		other := onePool(1, 1)
		other.Name, other.Template = "local:other", "other"
		r.Configure([]Config{newer, other})
		expect("reloaded", 2)
		for id, labels := range r.backend.labels() {
			if id != claim.Sandbox && labels[LabelPool] == newer.Name && labels[LabelFingerprint] != "f2" {
				t.Errorf("%s is of the old build", id)
			}
		}
		if s := r.Status(); len(s) != 2 || s[1].Available != 1 {
			t.Errorf("status %+v, want the new pool filled", s)
		}
		r.Configure([]Config{other})
		settled()
		if _, _, err := r.Claim(t.Context(), request()); err == nil {
			t.Error("a removed template was claimed")
		}
		if got, err := r.Get(claim.ID); err != nil || got.State != Claimed || len(r.backend.ids()) != 2 {
			t.Errorf("claim of the removed pool: %+v, %v; %d sandboxes, want it and the other pool's one", got, err, len(r.backend.ids()))
		}
		r.stop()
	})
}

func TestAdmissionStopsStartsNotClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(2, 8))
		r.run(t)
		settled()
		r.backend.locked(func() { r.blocked = "memory: 100 MiB left, 512 MiB are kept free" })
		for range 2 {
			if _, _, err := r.Claim(t.Context(), request()); err != nil {
				t.Error(err)
			}
		}
		req := request()
		req.Wait = 5 * time.Second
		if _, _, err := r.Claim(t.Context(), req); err == nil {
			t.Error("a sandbox was started")
		} else if s := r.Status()[0]; s.Blocked == "" || s.Available != 0 {
			t.Errorf("status %+v, want the reason", s)
		}
		r.backend.locked(func() { r.blocked = "" })
		settled()
		if s := r.Status()[0]; s.Blocked != "" || s.Available == 0 {
			t.Errorf("status %+v, want it filled again", s)
		}
		r.stop()
	})
}
