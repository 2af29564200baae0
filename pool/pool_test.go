package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

// settled waits until nothing moves but what is under way for a minute.
func settled() {
	time.Sleep(2 * time.Minute) // virtual time
	synctest.Wait()
}

func TestFillsToTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(4, 8))
		r.run(t)
		settled()
		if s := r.Status()[0]; s.Available != 4 || s.Total != 4 || s.Warming != 0 || s.Counters.Started != 4 {
			t.Errorf("status %+v, want 4 available", s)
		}
		r.stop()
	})
}

func TestClaimTakesAWarmOneAndItIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(2, 8))
		r.run(t)
		settled()
		began := time.Now()
		claim, _, err := r.Claim(t.Context(), request())
		if err != nil || claim.Tier != TierPaused || claim.State != Claimed {
			t.Fatalf("claim %+v, %v", claim, err)
		}
		if took, want := time.Since(began), r.backend.labelTime+r.backend.pauseTime; took != want {
			t.Errorf("the claim took %s, want one label and one resume: %s", took, want)
		}
		if got := r.deadlines.at[claim.ID]; !got.Equal(claim.Lease.ExpiresAt) {
			t.Errorf("deadline %s, want %s", got, claim.Lease.ExpiresAt)
		}
		settled()
		if s := r.Status()[0]; s.Available != 1 || s.InUse != 1 || s.Total != 2 {
			t.Errorf("status %+v, want 1 available and 1 in use", s)
		}
		if err := r.Release(t.Context(), claim.ID); err != nil {
			t.Fatal(err)
		}
		if err := r.Release(t.Context(), claim.ID); !errdefs.IsNotFound(err) {
			t.Errorf("second release: %v, want not found", err)
		}
		settled()
		if len(r.backend.sandboxes) != 2 || len(r.deadlines.at) != 0 {
			t.Errorf("%d sandboxes and %d deadlines are left, want 2 and 0", len(r.backend.sandboxes), len(r.deadlines.at))
		}
		r.stop()
	})
}

// TestClaimThatBringsSomethingAlong gives it to a sandbox that takes it as it wakes, and waits for none that does not.
func TestClaimThatBringsSomethingAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBackend(t)
		r := newRig(t, b, onePool(1, 8))
		r.run(t)
		settled()
		req := request()
		req.Given, req.Env = Environment, []string{"K=V"}
		began := time.Now()
		claim, _, err := r.Claim(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if took, most := time.Since(began), b.labelTime+b.pauseTime+time.Millisecond; took > most {
			t.Errorf("the claim took %s, want at most a label, a resume and an answer: %s", took, most)
		}
		if env := b.sandboxes[claim.Sandbox].env; !slices.Equal(env, req.Env) {
			t.Errorf("the sandbox was given %q", env)
		}
		settled()
		var broken string
		b.fail = func(call, id string) error {
			if call == "label" && (broken == "" || broken == id) {
				broken = id
				return errBroken
			}
			return nil
		}
		began = time.Now()
		if claim, _, err := r.Claim(t.Context(), req); err != nil || claim.Sandbox == broken {
			t.Errorf("claim %+v, %v, want another sandbox than %s", claim, err, broken)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("another sandbox took %s: the one that stays paused was waited for", took)
		}
	})
}

func TestEmptyPool(t *testing.T) {
	tests := []struct {
		name string
		pool Config
		req  func(*Request)
		tier string
		err  func(error) bool
	}{
		{"starts one on demand", onePool(0, 4), func(*Request) {}, TierCold, nil},
		{"no wait is refused", onePool(0, 4), func(r *Request) { r.Wait = 0 }, "", errdefs.IsResourceExhausted},
		{"no room is refused after the wait", onePool(0, 0), func(r *Request) { r.Wait = time.Second }, "", errdefs.IsResourceExhausted},
		{"cold never takes a warm one", onePool(2, 4), func(r *Request) { r.Cold = true }, TierCold, nil},
		{"unknown template", onePool(2, 4), func(r *Request) { r.Template = "other" }, "", errdefs.IsNotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newFakeBackend(t), test.pool)
				r.run(t)
				settled()
				req := request()
				test.req(&req)
				began := time.Now()
				claim, _, err := r.Claim(t.Context(), req)
				if test.err != nil {
					if !test.err(err) {
						t.Errorf("got %+v, %v", claim, err)
					}
					if waited := time.Since(began); waited != req.Wait && !errdefs.IsNotFound(err) {
						t.Errorf("refused after %s, want %s", waited, req.Wait)
					}
				} else if err != nil || claim.Tier != test.tier {
					t.Errorf("got %+v, %v; want tier %s", claim, err, test.tier)
				}
				r.stop()
			})
		})
	}
}

func TestClaimsWaitInOrderForAReleasedSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(0, 1))
		r.run(t)
		first, _, err := r.Claim(t.Context(), request())
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan int, 3)
		var clients sync.WaitGroup
		for i := range 3 {
			clients.Go(func() {
				claim, _, err := r.Claim(t.Context(), request())
				if err != nil {
					t.Error(err)
					return
				}
				order <- i
				if err := r.Release(t.Context(), claim.ID); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // it waits in the queue
		}
		if err := r.Release(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		clients.Wait()
		for want := range 3 {
			if got := <-order; got != want {
				t.Errorf("client %d was served in place %d", got, want)
			}
		}
		r.stop()
	})
}

func TestManyClientsNoSandboxTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(8, 64))
		r.run(t)
		settled()
		var mu sync.Mutex
		users := map[string]string{}
		var clients sync.WaitGroup
		for range 50 {
			clients.Go(func() {
				claim, _, err := r.Claim(t.Context(), request())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if other := users[claim.Sandbox]; other != "" {
					t.Errorf("sandbox %s was given to %s and %s", claim.Sandbox, other, claim.ID)
				}
				users[claim.Sandbox] = claim.ID
			})
		}
		clients.Wait()
		settled()
		if s := r.Status()[0]; s.InUse != 50 || len(r.Claims()) != 50 || len(r.backend.sandboxes) != s.Total {
			t.Errorf("status %+v with %d claims and %d sandboxes, want 50 in use", s, len(r.Claims()), len(r.backend.sandboxes))
		}
		r.stop()
	})
}

func TestRequestIDMakesClaimsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(2, 8), Config{Name: "local:other", Template: "other", Size: Size{Max: 4}})
		r.run(t)
		settled()
		req := request()
		req.RequestID = "r1"
		var mu sync.Mutex
		ids, fresh := map[string]bool{}, 0
		var clients sync.WaitGroup
		for range 10 {
			clients.Go(func() {
				claim, repeated, err := r.Claim(t.Context(), req)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				ids[claim.ID] = true
				if !repeated {
					fresh++
				}
			})
		}
		clients.Wait()
		if len(ids) != 1 || fresh != 1 {
			t.Errorf("%d claims, %d of them new; want one", len(ids), fresh)
		}
		other := req
		other.Template = "other"
		if _, _, err := r.Claim(t.Context(), other); !errdefs.IsAlreadyExists(err) {
			t.Errorf("same id for another template: %v, want already exists", err)
		}
		other = req
		other.Owner = "uid:7"
		if claim, repeated, err := r.Claim(t.Context(), other); err != nil || repeated || ids[claim.ID] {
			t.Errorf("another owner's id: %+v, %v, %v; want a claim of its own", claim, repeated, err)
		}
		for id := range ids {
			if err := r.Release(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		if claim, repeated, err := r.Claim(t.Context(), req); err != nil || repeated || ids[claim.ID] {
			t.Errorf("after the release: %+v, %v, %v; want a new claim", claim, repeated, err)
		}
		r.stop()
	})
}

func TestClientThatLeavesGetsNothing(t *testing.T) {
	tests := []struct {
		target int
		after  time.Duration
	}{
		{1, 0}, {1, time.Millisecond}, {1, 10 * time.Millisecond}, // while it is labelled, while it is resumed
		{0, 0}, {0, 100 * time.Millisecond}, {0, 250 * time.Millisecond}, {0, 251 * time.Millisecond}, // while one is started, as it is ready, while it is labelled
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("target %d after %s", test.target, test.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newFakeBackend(t), onePool(test.target, 4))
				r.run(t)
				settled()
				ctx, cancel := context.WithTimeout(t.Context(), test.after)
				defer cancel()
				if _, _, err := r.Claim(ctx, request()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				settled()
				if s := r.Status()[0]; s.InUse != 0 || s.Waiting != 0 || len(r.Claims()) != 0 || s.Available != len(r.backend.sandboxes) {
					t.Errorf("status %+v, %d sandboxes exist; want none in use", s, len(r.backend.sandboxes))
				}
				r.stop()
			})
		})
	}
}

func TestSandboxThatFailsIsNeverHandedOut(t *testing.T) {
	for _, call := range []string{"label", "resume", "pause"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := newFakeBackend(t)
				bad := ""
				broken := false
				backend.fail = func(c, id string) error {
					if c == call && (bad == "" || id == bad) && broken {
						bad = id
						return errors.New("broken")
					}
					return nil
				}
				r := newRig(t, backend, onePool(2, 8))
				backend.locked(func() { broken = call == "pause" })
				r.run(t)
				settled()
				backend.locked(func() { broken = true })
				claim := r.claimOne(t)
				settled()
				if bad == "" || claim.Sandbox == bad {
					t.Errorf("claimed %q, the broken one is %q", claim.Sandbox, bad)
				}
				if backend.sandboxes[bad] != nil {
					t.Error("the broken one was not destroyed")
				}
				if s := r.Status()[0]; s.Available < 1 || s.InUse != 1 || s.Total != len(backend.sandboxes) {
					t.Errorf("status %+v with %d sandboxes, want the pool whole again", s, len(backend.sandboxes))
				}
				r.stop()
			})
		})
	}
}
