package pool

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

// asks has clients claim, each when the ones before it wait, and returns the owners in the order in which they were served.
func (r *rig) asks(t *testing.T, change func(*Request), owners ...string) (served func() []string) {
	t.Helper()
	var mu sync.Mutex
	var order []string
	var clients sync.WaitGroup
	for _, owner := range owners {
		clients.Go(func() {
			req := request()
			req.Owner, req.Wait = owner, time.Hour
			change(&req)
			claim, _, err := r.Claim(t.Context(), req)
			if err != nil {
				t.Errorf("%s: %v", owner, err)
				return
			}
			mu.Lock()
			order = append(order, owner)
			mu.Unlock()
			if err := r.Release(t.Context(), claim.ID); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
	return func() []string {
		clients.Wait()
		return order
	}
}

// TestOwnersWaitInTurns has one owner wait many times in each of the queues before others come.
func TestOwnersWaitInTurns(t *testing.T) {
	for name, change := range map[string]func(*Request){
		"any":      func(*Request) {},
		"cold":     func(r *Request) { r.Cold = true },
		"restored": func(r *Request) { r.Checkpoint = "ck-1" },
		"mixed":    func(r *Request) { r.Cold = r.Owner == "a" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newFakeBackend(t), onePool(0, 1))
				r.run(t)
				first, _, err := r.Claim(t.Context(), request())
				if err != nil {
					t.Fatal(err)
				}
				served := r.asks(t, change, "a", "a", "a", "a", "b", "b", "c")
				if err := r.Release(t.Context(), first.ID); err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(served(), " "); got != "a b c a b a a" {
					t.Errorf("served in the order %s", got)
				}
				r.stop()
			})
		})
	}
}

// TestStartsThatNeverEnd has one owner's restores hold all slots: what others wait for is started all the same, and so is what a
// pool lacks.
func TestStartsThatNeverEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		other := onePool(1, 9)
		other.Name, other.Template = "local:other", "other"
		r := newRig(t, backend, onePool(0, 40), other)
		hang := make(chan struct{})
		backend.hang = func(from Origin) {
			if from.Checkpoint == "ck-hostile" {
				<-hang
			}
		}
		r.run(t)
		time.Sleep(time.Minute)
		ctx, giveUp := context.WithCancel(t.Context())
		var hostile sync.WaitGroup
		for range 3 * r.starts {
			hostile.Go(func() {
				req := request()
				req.Owner, req.Checkpoint, req.Wait = "hostile", "ck-hostile", time.Hour
				if _, _, err := r.Claim(ctx, req); err == nil {
					t.Error("a restore that never ends has ended")
				}
			})
			synctest.Wait()
		}
		for _, req := range []Request{
			{Template: "other", Owner: "a"},               // of the pool, which refills
			{Template: "other", Owner: "a", Cold: true},   // in another pool
			{Template: "default", Owner: "a", Cold: true}, // in the same
			{Template: "default", Owner: "b", Checkpoint: "ck-good"},
			{Template: "other", Owner: "b"},
		} {
			req.Wait, req.Kind, req.Lifetime = time.Minute, "test", hour
			if _, _, err := r.Claim(t.Context(), req); err != nil {
				t.Errorf("claim of %+v: %v", req, err)
			}
			time.Sleep(time.Minute)
		}
		giveUp()
		hostile.Wait()
		close(hang)
		r.stop()
	})
}

// TestAllSlotsAreForWhoIsAlone has one owner's starts hold all slots but no more than those.
func TestAllSlotsAreForWhoIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		r := newRig(t, backend, onePool(0, 40))
		var mu sync.Mutex
		var running, most int
		backend.hang = func(Origin) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
		}
		r.run(t)
		owners := slices.Repeat([]string{"a"}, 4*r.starts)
		if got := r.asks(t, func(r *Request) { r.Cold = true }, owners...)(); len(got) != len(owners) || most != r.starts {
			t.Errorf("%d served, up to %d starts at once, want %d", len(got), most, r.starts)
		}
		r.stop()
	})
}

// TestQuota has one owner claim all that it can, by each way there is: others still get theirs, and what has ended counts no more.
func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const quota = 3
		r := newRig(t, newFakeBackend(t), onePool(2, 6))
		r.run(t)
		time.Sleep(time.Minute)
		claim := func(owner string, change func(*Request)) (Claim, error) {
			req := request()
			req.Owner, req.Quota = owner, quota
			change(&req)
			claim, _, err := r.Claim(t.Context(), req)
			return claim, err
		}
		ways := []func(*Request){
			func(*Request) {}, func(r *Request) { r.Cold = true }, func(r *Request) { r.Checkpoint = "ck-1" }, func(r *Request) { r.RequestID = "x" },
		}
		var mu sync.Mutex
		var got []Claim
		refused := 0
		var greedy sync.WaitGroup
		for i := range 4 * len(ways) {
			greedy.Go(func() {
				c, err := claim("greedy", func(r *Request) { ways[i%len(ways)](r); r.RequestID += strings.Repeat("y", i) })
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					got = append(got, c)
				case errors.Is(err, ErrQuota) && errdefs.IsResourceExhausted(err):
					refused++
				default:
					t.Error(err)
				}
			})
		}
		greedy.Wait()
		if len(got) != quota || refused != 4*len(ways)-quota {
			t.Fatalf("%d claims, %d refused, want %d claims and a refusal of all else", len(got), refused, quota)
		}
		if _, err := claim("other", ways[0]); err != nil {
			t.Errorf("another owner's claim: %v", err)
		}
		if _, err := claim("greedy", func(r *Request) { r.Quota = 0 }); err != nil {
			t.Errorf("a claim without a quota: %v", err)
		}
		for _, c := range got[1:] {
			if err := r.Release(t.Context(), c.ID); err != nil {
				t.Error(err)
			}
		}
		if _, err := claim("greedy", ways[1]); err != nil {
			t.Errorf("a claim after two were released: %v", err)
		}
		if _, err := claim("greedy", ways[1]); !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), "greedy has 3 claims and asks for 0, of at most 3 together") {
			t.Errorf("one more: %v", err)
		}
		if len(r.asking) != 0 {
			t.Errorf("still under way: %v", r.asking)
		}
		r.stop()
	})
}

// TestQuotaOfThoseThatWait counts claims that wait, and no more once they have given up.
func TestQuotaOfThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeBackend(t), onePool(0, 0))
		r.run(t)
		for range 2 {
			errs := make(chan error, 5)
			for range cap(errs) {
				go func() {
					req := request()
					req.Quota, req.Wait = 2, time.Second
					_, _, err := r.Claim(t.Context(), req)
					errs <- err
				}()
				synctest.Wait()
			}
			time.Sleep(time.Minute)
			refused := 0
			for range cap(errs) {
				if err := <-errs; errors.Is(err, ErrQuota) {
					refused++
				} else if !errdefs.IsResourceExhausted(err) {
					t.Error(err)
				}
			}
			if refused != 3 {
				t.Errorf("%d of 5 were refused, want 3", refused)
			}
		}
		r.stop()
	})
}
