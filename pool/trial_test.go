package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

func TestTrialIsNobodysAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		r := newRig(t, backend, onePool(0, 1))
		r.run(t)
		want := errors.New("it has no such command")
		err := r.Try(t.Context(), "default", "", func(ctx context.Context, id string, labels map[string]string) error {
			if _, err := backend.Start(ctx, id, Origin{Template: "default"}, labels); err != nil {
				t.Error(err)
			}
			if got := State(labels[LabelState]); got != Warming || !r.Knows(id) {
				t.Errorf("trial is labelled %q, known %t", got, r.Knows(id))
			}
			// The pool may hold one sandbox: the trial takes nobody's place, and nobody gets it.
			claim, _, err := r.Claim(ctx, request())
			if err != nil || claim.Sandbox == id {
				t.Errorf("claim beside the trial: %+v, %v", claim, err)
			}
			if report, err := r.Reconcile(ctx, backend.list); err != nil || report.Terminating+report.Warm > 0 {
				t.Errorf("reconciliation beside the trial: %+v, %v", report, err)
			}
			if err := r.Release(ctx, claim.ID); err != nil {
				t.Error(err)
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("error %v, want that of the use", err)
		}
		if len(backend.sandboxes) > 0 {
			t.Errorf("left: %v", backend.sandboxes)
		}
		if err := r.Try(t.Context(), "unknown", "", nil); !errdefs.IsNotFound(err) {
			t.Errorf("trial of an unknown template: %v", err)
		}
		away := errors.New("containerd is away")
		_ = r.SetOutage(away)
		if err := r.Try(t.Context(), "default", "", nil); !errors.Is(err, away) {
			t.Errorf("trial in an outage: %v", err)
		}
		_ = r.SetOutage(nil)
		backend.locked(func() { r.blocked = "memory: 1 MiB left" })
		if err := r.Try(t.Context(), "default", "", nil); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), r.blocked) {
			t.Errorf("trial on a host that is short: %v", err)
		}
		r.stop()
	})
}

func TestNothingIsStartedBeforeTheTemplateIsPrepared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		cfg := onePool(2, 4)
		cfg.Source = nil
		r := newRig(t, backend, cfg)
		r.run(t)
		claimed := make(chan error, 1)
		go func() {
			_, _, err := r.Claim(t.Context(), request())
			claimed <- err
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(backend.sandboxes) > 0 {
			t.Fatal("a sandbox was started from nothing")
		}
		r.Prepared("default", build{fingerprint: "f1"})
		if err := <-claimed; err != nil {
			t.Errorf("the claim that waited: %v", err)
		}
		settled()
		if s := r.Status()[0]; s.Available != 2 || s.InUse != 1 { // the claim made the pool grow by one
			t.Errorf("status %+v, want two ready and one claimed", s)
		}
		// A later failure takes nothing away.
		r.Unprepared("default", errors.New("no such image"))
		if s := r.Status()[0]; s.Degraded != "" || s.Available != 2 {
			t.Errorf("status %+v after an update that failed", s)
		}
		r.stop()
	})
}

func TestATemplateThatCannotBePreparedDegradesItsPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		bad := onePool(1, 4)
		bad.Name, bad.Template, bad.Source = "local:bad", "bad", nil
		r := newRig(t, backend, onePool(1, 4), bad)
		r.run(t)
		req := request()
		req.Template = "bad"
		refused := make(chan error, 1)
		go func() {
			_, _, err := r.Claim(t.Context(), req)
			refused <- err
		}()
		synctest.Wait()
		for range failFast {
			r.Unprepared("bad", errors.New("pull: no such image"))
		}
		if err := <-refused; !errdefs.IsResourceExhausted(err) || !strings.Contains(err.Error(), "pull: no such image") {
			t.Errorf("the claim that waited: %v, want a refusal with the reason", err)
		}
		if _, _, err := r.Claim(t.Context(), request()); err != nil {
			t.Errorf("claim of the other template: %v", err)
		}
		r.Prepared("bad", build{fingerprint: "f1"})
		if _, _, err := r.Claim(t.Context(), req); err != nil {
			t.Errorf("claim once it is mended: %v", err)
		}
		r.stop()
	})
}

// TestOldSandboxesServeUntilTheTemplateIsPrepared covers a start of the daemon: what an earlier one left warm is handed out.
func TestOldSandboxesServeUntilTheTemplateIsPrepared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		for i := range 4 {
			backend.sandboxes[fmt.Sprint("sb-old-", i)] = &fakeSandbox{labels: record(Available).Labels(), status: Paused}
		}
		cfg := onePool(4, 8)
		cfg.Source = nil
		r := newRig(t, backend, cfg)
		r.run(t)
		synctest.Wait()
		claim, _, err := r.Claim(t.Context(), request())
		if s := r.Status()[0]; err != nil || s.Available != 3 || s.Wanted != 4 || claim.Tier != TierPaused {
			t.Fatalf("claim %+v, %v, status %+v; want the old sandboxes adopted, one handed out, and the pool as large as before", claim, err, s)
		}
		r.Prepared("default", build{fingerprint: "f2"})
		time.Sleep(time.Minute)
		synctest.Wait()
		for id := range backend.sandboxes {
			if strings.HasPrefix(id, "sb-old-") && id != claim.Sandbox {
				t.Errorf("%s was not replaced", id)
			}
		}
		if s := r.Status()[0]; s.Available != 3 || s.InUse != 1 {
			t.Errorf("status %+v, want three new ones beside the claim", s)
		}
		r.stop()
	})
}

func TestPhasesOfTheStartThatAClaimWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		backend.snapshot = true
		r := newRig(t, backend, onePool(0, 4))
		told := map[bool]int{}
		r.started = func(_ string, how Started) { told[how.Restored]++ }
		r.run(t)
		cold := request()
		cold.Cold = true
		for tier, req := range map[string]Request{TierTemplate: request(), TierCold: cold} {
			claim, _, err := r.Claim(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if claim.Tier != tier || claim.Phases == nil || claim.Phases.Sentry != backend.startTime || claim.Phases.Schedule != 0 {
				t.Errorf("claim of tier %s has tier %s, phases %+v", tier, claim.Tier, claim.Phases)
			}
			if again, err := r.Get(claim.ID); err != nil || again.Phases == nil {
				t.Errorf("the claim asked for again: %+v, %v", again, err)
			}
		}
		if told[true] != 1 || told[false] != 1 {
			t.Errorf("told of %d restored and %d started ones, want one each", told[true], told[false])
		}
		// Four are the most: the fifth waits for a release, and its schedule says how long.
		for range 2 {
			if _, _, err := r.Claim(t.Context(), cold); err != nil {
				t.Fatal(err)
			}
		}
		late := make(chan Claim, 1)
		go func() {
			claim, _, err := r.Claim(t.Context(), cold)
			if err != nil {
				t.Error(err)
			}
			late <- claim
		}()
		time.Sleep(5 * time.Second)
		if err := r.Release(t.Context(), r.Claims()[0].ID); err != nil {
			t.Fatal(err)
		}
		if got := (<-late).Phases.Schedule; got < 5*time.Second || got > 6*time.Second {
			t.Errorf("schedule took %s, want the wait of 5 s and the destroy", got)
		}
		r.stop()
	})
}

func TestWarmClaimsHaveNoPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(1, 4))
		r.run(t)
		settled()
		if claim, _, err := r.Claim(t.Context(), request()); err != nil || claim.Phases != nil {
			t.Errorf("claim %+v, %v; want one without phases", claim, err)
		}
		r.stop()
	})
}

// TestAStartTakesItsSourceOnce has the template change between the moment in which a start is decided on and the start itself: what is
// started is what the label says, and it is replaced.
func TestAStartTakesItsSourceOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		r := newRig(t, backend, onePool(1, 4))
		untraced, changed := r.starting, sync.OnceFunc(func() { r.Prepared("default", build{fingerprint: "f2"}) })
		r.starting = func(ctx context.Context, id string, from Origin) (context.Context, func(error)) {
			changed()
			return untraced(ctx, id, from)
		}
		var from []string
		backend.hang = func(o Origin) {
			backend.mu.Lock()
			defer backend.mu.Unlock()
			from = append(from, o.Source.Fingerprint())
		}
		r.run(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"f1", "f2"}; !slices.Equal(from, want) {
			t.Errorf("sandboxes were started from %q, want %q", from, want)
		}
		for id, labels := range backend.labels() {
			if labels[LabelFingerprint] != "f2" {
				t.Errorf("%s is labelled %s, want it replaced by one of f2", id, labels[LabelFingerprint])
			}
		}
		r.stop()
	})
}
