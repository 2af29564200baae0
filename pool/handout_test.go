package pool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

// TestBegin has something done in the sandboxes of claims before they are answered: it succeeds, fails, or is broken off.
func TestBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		why := ""
		backend.fail = func(call, id string) error {
			if call == "destroy" {
				why = backend.sandboxes[id].labels[LabelReason]
			}
			return nil
		}
		config := onePool(3, 3)
		config.Source = build{fingerprint: "f1", onClaim: "do this"}
		r := newRig(t, backend, config)
		r.run(t)
		settled()
		var begun Claim
		broken := errors.New("the sandbox said hunter2")
		of := func(do func(ctx context.Context) error) (Claim, error) {
			req := request()
			req.RequestID = "r"
			req.Begin = func(ctx context.Context, claim Claim) error {
				begun = claim
				if _, err := r.Get(claim.ID); err == nil {
					t.Error("others see a claim that has not begun")
				}
				backend.locked(func() {
					if s := backend.sandboxes[claim.Sandbox]; s.status != Running || !s.promised || s.labels[LabelClaim] != claim.ID {
						t.Errorf("it begins in %+v", s)
					}
				})
				return do(ctx)
			}
			claim, _, err := r.Claim(t.Context(), req)
			return claim, err
		}
		failed := func(err, want error) {
			t.Helper()
			if !errors.Is(err, want) || r.Status()[0].InUse > 0 {
				t.Errorf("the claim failed with %v, status %+v", err, r.Status()[0])
			}
			settled()
			if _, there := backend.labels()[begun.Sandbox]; there || backend.destroyed != 1 {
				t.Errorf("its sandbox is there: %t; %d were destroyed, want one", there, backend.destroyed)
			}
			backend.destroyed = 0
		}
		_, err := of(func(context.Context) error { return broken })
		failed(err, broken)
		if why != unbegun {
			t.Errorf("it was destroyed because %q", why)
		}
		_, err = of(func(context.Context) error {
			r.Died(begun.Sandbox, "no memory")
			return broken
		})
		failed(err, broken)
		ctx, leave := context.WithCancel(t.Context())
		req := request()
		req.Begin = func(ctx context.Context, claim Claim) error {
			begun = claim
			leave()
			<-ctx.Done()
			return context.Cause(ctx)
		}
		_, _, err = r.Claim(ctx, req)
		failed(err, context.Canceled)

		claim, err := of(func(context.Context) error { time.Sleep(time.Second); return nil })
		if err != nil || claim.ID != begun.ID || begun.OnClaim != "do this" || claim.OnClaim != "do this" {
			t.Errorf("claim %+v, %v; it began as %+v", claim, err, begun)
		}
		if again, repeated, err := r.Claim(t.Context(), Request{Template: "default", Owner: "uid:0", RequestID: "r", Kind: "test", Lifetime: hour}); err != nil || !repeated || again.ID != claim.ID {
			t.Errorf("claimed again: %+v, %t, %v", again, repeated, err)
		}
		r.stop()
	})
}

// TestSandboxesThatTakeNoEnvironment are of an older release: one of a pool is replaced, and the next is tried. Another restore of the same
// checkpoint would be the same, and the claim says so.
func TestSandboxesThatTakeNoEnvironment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		const old = 2
		tried := map[string]bool{}
		backend.fail = func(call, id string) error {
			if call != "give" || len(tried) >= old && !tried[id] {
				return nil
			}
			tried[id] = true
			return errdefs.ErrFailedPrecondition.WithMessage("of an older release")
		}
		r := newRig(t, backend, onePool(3, 4))
		r.run(t)
		settled()
		req := request()
		req.Env = []string{"A=b"}
		if _, _, err := r.Claim(t.Context(), req); err != nil || len(tried) != old {
			t.Errorf("the claim ended with %v, after %d attempts in vain", err, len(tried))
		}
		settled()
		for id := range tried {
			if _, there := backend.labels()[id]; there {
				t.Errorf("sandbox %s is still there", id)
			}
		}
		clear(tried)
		req.Checkpoint = "ck-1"
		if _, _, err := r.Claim(t.Context(), req); !errdefs.IsFailedPrecondition(err) || len(tried) != 1 {
			t.Errorf("the claim of a checkpoint ended with %v, after %d attempts in vain", err, len(tried))
		}
		r.stop()
	})
}
