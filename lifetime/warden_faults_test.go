package lifetime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestRestart(t *testing.T) {
	tests := map[string]struct {
		stop time.Duration // from the hand-out
		down time.Duration
		want []string
	}{
		"steady":              {time.Hour, time.Minute, []string{"warn c@1h45m0s", "close c@1h55m0s", "expire c@2h0m0s"}},
		"over the warning":    {time.Hour, 50 * time.Minute, []string{"warn c@1h50m0s", "close c@1h55m0s", "expire c@2h0m0s"}},
		"warned":              {110 * time.Minute, time.Minute, []string{"warn c@1h45m0s", "close c@1h55m0s", "expire c@2h0m0s"}},
		"over the grace":      {110 * time.Minute, 6 * time.Minute, []string{"warn c@1h45m0s", "close c@1h56m0s", "expire c@2h0m0s"}},
		"grace":               {116 * time.Minute, time.Minute, []string{"warn c@1h45m0s", "close c@1h55m0s", "close c@1h57m0s", "expire c@2h0m0s"}},
		"from warned to over": {110 * time.Minute, time.Hour, []string{"warn c@1h45m0s", "close c@2h50m0s", "expire c@2h50m10s"}},
		"from grace to over":  {116 * time.Minute, time.Hour, []string{"warn c@1h45m0s", "close c@1h55m0s", "close c@2h56m0s", "expire c@2h56m10s"}},
		"from steady to over": {time.Minute, day, []string{"close c@24h1m0s", "expire c@24h1m10s"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			watching(t, func(b *book) {
				b.closing = takes(10 * time.Second)
				b.set("c", NewLease("cicd", cicd, time.Now()))
				time.Sleep(test.stop)
				b.restart(test.down)
				time.Sleep(2 * day)
				b.want(test.want...)
			})
		})
	}
}

// TestStopDuringClose checks that a daemon that stops neither waits for a Close nor ends the claim, late or not.
func TestStopDuringClose(t *testing.T) {
	watching(t, func(b *book) {
		b.closing = takes(time.Hour)
		b.set("late", Lease{Type: cicd, ExpiresAt: time.Now().Add(-time.Second), Stage: Warned})
		b.set("on time", Lease{Type: cicd, ExpiresAt: time.Now().Add(time.Minute), Stage: Warned})
		time.Sleep(10 * time.Second)
		b.restart(0)
		synctest.Wait()
		b.stop()
		b.wantAll("close", "late@0s", "late@10s", "on time@0s", "on time@10s")
		b.wantAll("expire")
		b.run()
	})
}

// TestRunWaits checks that Run returns after what it began, even when that takes its time to heed the end.
func TestRunWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		free := make(chan struct{})
		b.closing = func(context.Context, string) { <-free }
		b.set("c", Lease{Type: cicd, ExpiresAt: time.Now().Add(time.Minute), Stage: Grace})
		b.run()
		synctest.Wait()
		b.want("close c@0s")
		returned := false
		go func() {
			b.stop()
			returned = true
		}()
		if synctest.Wait(); returned {
			t.Error("Run returned while a Close was under way")
		}
		close(free)
		if synctest.Wait(); !returned {
			t.Error("Run does not return")
		}
	})
}

// TestFirstInLineIsRemoved has a claim leave the line that another one waits in.
func TestFirstInLineIsRemoved(t *testing.T) {
	watching(t, func(b *book) {
		b.closing = takes(time.Minute)
		b.set("first", Lease{Type: cicd, ExpiresAt: b.began.Add(-time.Hour), Stage: Warned})
		b.set("second", Lease{Type: Type{Lifetime: time.Hour}, ExpiresAt: b.began.Add(-time.Minute), Stage: Steady})
		time.Sleep(12 * time.Second)
		b.remove("first")
		b.want("close first@0s", "expire second@12s")
	})
}

// TestOverdueAtStart has claims of every kind end while the daemon is down. They end in the order of their deadlines, however
// long each takes to be closed, and no claim that ends on time waits for them.
func TestOverdueAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		overdue := func(claim string, by time.Duration, of Type, at Stage) {
			b.set(claim, Lease{Type: of, ExpiresAt: b.began.Add(-by), Stage: at})
		}
		bare := Type{Lifetime: time.Hour}
		overdue("6", 1*time.Minute, bare, Steady)
		overdue("1", 6*time.Hour, bare, Steady)
		overdue("4", 3*time.Hour, cicd, Steady)
		overdue("2", 5*time.Hour, cicd, Warned)
		overdue("3", 4*time.Hour, cicd, Grace)
		overdue("5", 2*time.Hour, preview, Warned)
		b.set("soon", Lease{Type: bare, ExpiresAt: b.began.Add(time.Second), Stage: Steady})
		b.closing = func(ctx context.Context, claim string) {
			took := map[string]time.Duration{"2": 20 * time.Second, "4": time.Second, "5": time.Hour}
			takes(took[claim])(ctx, claim)
		}
		b.run()
		time.Sleep(day)
		b.wantAll("close", "2@0s", "3@0s", "4@0s", "5@0s")
		ends := slices.DeleteFunc(slices.Clone(b.log), func(entry string) bool { return strings.HasPrefix(entry, "close") })
		want := []string{"expire 1@0s", "expire soon@1s", "expire 2@20s", "expire 3@20s", "expire 4@20s", "expire 5@1m0s", "expire 6@1m0s"}
		if !slices.Equal(ends, want) {
			t.Errorf("ends:\n got %q\nwant %q", ends, want)
		}
		b.stop()
	})
}

func TestManyLateCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		for i := range 10 {
			b.set(fmt.Sprint(i), Lease{Type: cicd, ExpiresAt: b.began.Add(time.Duration(i-20) * time.Minute), Stage: Warned})
		}
		b.closing = takes(time.Hour) // each is cut off after its own closeTime
		b.run()
		time.Sleep(day)
		synctest.Wait()
		b.mu.Lock()
		closes, ends := map[string]int{}, 0
		for _, entry := range b.log {
			if _, at, _ := strings.Cut(entry, "@"); strings.HasPrefix(entry, "close") {
				closes[at]++
				continue
			}
			if want := fmt.Sprintf("expire %d@", ends); !strings.HasPrefix(entry, want) {
				t.Errorf("end number %d is %q, want %s", ends, entry, want)
			}
			ends++
		}
		b.mu.Unlock()
		if closes["0s"] != 4 || closes["1m0s"] != 4 || closes["2m0s"] != 2 || ends != 10 {
			t.Errorf("%v closes and %d ends, want 4, 4 and 2, a minute apart, and 10", closes, ends)
		}
		b.stop()
	})
}

// TestFailingAdvance checks that attempts are made farther and farther apart, that the next stage does not wait for one that
// cannot be noted, and that nothing is done without a note but the end.
func TestFailingAdvance(t *testing.T) {
	watching(t, func(b *book) {
		var mu sync.Mutex
		var attempts []string
		b.advance = func(_ string, to Stage) error {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, fmt.Sprintf("%s@%s", to, time.Since(b.began)))
			return errors.New("the disk is full")
		}
		b.set("c", NewLease("short", Type{Lifetime: 5 * time.Minute, Warning: 3 * time.Minute, Grace: 20 * time.Second}, time.Now()))
		time.Sleep(time.Hour)
		b.want("expire c@5m0s")
		want := []string{
			"warned@2m0s", "warned@2m1s", "warned@2m3s", "warned@2m7s", "warned@2m15s", "warned@2m31s", "warned@3m1s", "warned@3m31s",
			"warned@4m1s", "warned@4m31s", "grace@4m40s", "grace@4m41s", "grace@4m43s", "grace@4m47s", "grace@4m55s",
		}
		if !slices.Equal(attempts, want) {
			t.Errorf("attempts:\n got %q\nwant %q", attempts, want)
		}
		mu.Lock()
		attempts = nil
		mu.Unlock()
		b.set("late", Lease{Type: cicd, ExpiresAt: time.Now().Add(-time.Second), Stage: Steady})
		time.Sleep(time.Hour)
		b.want("expire c@5m0s", "expire late@1h0m0s")
		if !slices.Equal(attempts, []string{"grace@1h0m0s"}) {
			t.Errorf("attempts for a claim that is over: %q, want one", attempts)
		}
	})
}

func TestAdvanceSucceedsInTheEnd(t *testing.T) {
	watching(t, func(b *book) {
		var calls atomic.Int32
		b.advance = func(string, Stage) error {
			if calls.Add(1) <= 4 {
				return errors.New("containerd is away")
			}
			return nil
		}
		b.set("c", NewLease("cicd", cicd, time.Now()))
		time.Sleep(day)
		b.want("warn c@1h45m15s", "close c@1h55m0s", "expire c@2h0m0s")
	})
}

// TestAdvanceHangs lets the note of a stage hang past the next ones: neither they nor the end wait.
func TestAdvanceHangs(t *testing.T) {
	watching(t, func(b *book) {
		b.advance = func(_ string, to Stage) error {
			if to == Warned {
				time.Sleep(time.Hour)
			}
			return nil
		}
		b.set("c", NewLease("cicd", cicd, time.Now()))
		time.Sleep(day)
		b.want("close c@1h55m0s", "expire c@2h0m0s")
	})
}

// TestStuckClose has a Close that does not even heed its context.
func TestStuckClose(t *testing.T) {
	watching(t, func(b *book) {
		free := make(chan struct{})
		var causes sync.Map
		b.closing = func(ctx context.Context, claim string) {
			<-ctx.Done()
			causes.Store(claim, context.Cause(ctx))
			<-free
		}
		b.set("late", Lease{Type: cicd, ExpiresAt: time.Now().Add(-time.Second), Stage: Steady})
		b.set("c", NewLease("cicd", cicd, time.Now()))
		b.set("removed", NewLease("cicd", cicd, time.Now()))
		b.set("died", NewLease("cicd", cicd, time.Now()))
		time.Sleep(116 * time.Minute)
		b.remove("removed")
		died, _ := b.Lease("died")
		b.set("died", Lease{Type: Type{Lifetime: 2 * time.Hour}, ExpiresAt: died.ExpiresAt, Stage: Steady})
		time.Sleep(time.Hour)
		b.wantAll("expire", "c@2h0m0s", "died@2h0m0s", "late@1m0s")
		for claim, want := range map[string]error{"late": errLate, "c": errOver, "removed": errReplaced, "died": errReplaced} {
			cause, _ := causes.Load(claim)
			if got, _ := cause.(error); !errors.Is(got, want) {
				t.Errorf("the Close of %s ended with %v, want %v", claim, got, want)
			}
		}
		close(free)
	})
}
