package lifetime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// walk does random things to claims and knows what must come of each.
type walk struct {
	*book
	random *rand.Rand
	made   int
	starts []time.Time          // of the Warden
	found  int                  // claims that there were at the last of them
	ends   map[string]time.Time // when each claim that lives must end
	over   map[string]time.Time // when each other one expired or was removed
	rungs  map[string]int       // how often each was done, by "what claim end start"
}

// TestWalk takes a few thousand random steps: claims of all kinds come, are extended, die and are released, the daemon restarts,
// stages cannot be noted, and acts take long.
func TestWalk(t *testing.T) {
	ended, done := 0, 0
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			w := &walk{
				book: newBook(t), random: rand.New(rand.NewPCG(seed, 0)),
				ends: map[string]time.Time{}, over: map[string]time.Time{}, rungs: map[string]int{},
			}
			w.advance, w.warning, w.closing, w.done = w.note, w.act, w.act, w.check
			w.starts = append(w.starts, time.Now())
			w.run()
			for range 300 {
				w.step()
			}
			time.Sleep(3 * time.Hour)
			synctest.Wait()
			w.mu.Lock()
			for claim, end := range w.ends {
				t.Errorf("seed %d: claim %s should have ended at %s and has not; its lease is %+v", seed, claim, end, w.leases[claim])
			}
			ended, done = ended+len(w.over), done+len(w.rungs)
			w.mu.Unlock()
			w.stop()
		})
	}
	if ended < 2000 || done < 3000 {
		t.Errorf("%d claims ended and %d things were done for them: too few to show anything", ended, done)
	}
}

// pick draws a number below n; the others that draw hold no lock of the walk's.
func (w *walk) pick(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

func (w *walk) step() {
	time.Sleep(time.Duration(w.pick(60_000)) * time.Millisecond)
	switch n := w.pick(20); {
	case n < 9:
		w.claim()
	case n < 14:
		w.putOff()
	case n < 16:
		w.release()
	case n < 18:
		w.die()
	case n < 19:
		w.restartNow()
	}
}

func (w *walk) claim() {
	lasting := time.Duration(1+w.pick(1800)) * time.Second
	of := Type{Lifetime: lasting, Extensions: w.pick(3)}
	if w.pick(4) > 0 {
		of.Grace = time.Duration(w.pick(int(lasting/time.Second))) * time.Second
	}
	if w.pick(4) > 0 {
		of.Warning = of.Grace + time.Duration(w.pick(int((lasting-of.Grace)/time.Second)))*time.Second
	}
	if err := of.Validate(); err != nil {
		w.t.Fatal(err)
	}
	w.made++
	claim := fmt.Sprintf("c%d", w.made)
	lease := NewLease("random", of, time.Now())
	w.mu.Lock()
	w.ends[claim] = lease.ExpiresAt
	w.mu.Unlock()
	w.set(claim, lease)
}

// any draws a claim that lives; none when there is none.
func (w *walk) any() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	claims := slices.Sorted(maps.Keys(w.leases))
	if len(claims) == 0 {
		return ""
	}
	return claims[w.random.IntN(len(claims))]
}

func (w *walk) putOff() {
	claim := w.any()
	if err := w.extend(claim); err == nil {
		w.mu.Lock()
		w.ends[claim] = w.leases[claim].ExpiresAt
		w.mu.Unlock()
	}
}

func (w *walk) release() {
	claim := w.any()
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.leases[claim]; ok {
		delete(w.leases, claim)
		delete(w.ends, claim)
		w.over[claim] = time.Now()
		w.warden.Remove(claim)
	}
}

// die leaves a claim nothing but its end, as one has whose sandbox died.
func (w *walk) die() {
	claim := w.any()
	w.mu.Lock()
	defer w.mu.Unlock()
	if lease, ok := w.leases[claim]; ok {
		lease.Type.Warning, lease.Type.Grace, lease.Stage = 0, 0, Steady
		w.leases[claim] = lease
		w.warden.Set(claim, ownerOf(claim), lease)
	}
}

func (w *walk) restartNow() {
	w.stop()
	time.Sleep(time.Duration(w.pick(600)) * time.Second)
	w.mu.Lock()
	w.starts, w.found = append(w.starts, time.Now()), len(w.leases)
	w.mu.Unlock()
	w.restart(0)
}

// note makes noting a stage take time, and fail at times.
func (w *walk) note(string, Stage) error {
	if n := w.pick(10); n < 5 {
		time.Sleep(time.Duration(n) * time.Second)
	}
	if w.pick(4) == 0 {
		return errors.New("it cannot be noted")
	}
	return nil
}

func (w *walk) act(ctx context.Context, _ string) {
	takes(time.Duration(w.pick(90))*time.Second)(ctx, "")
}

// check is told what is done for a claim, under the lock.
func (w *walk) check(what, claim string, l Lease) {
	now, started := time.Now(), w.starts[len(w.starts)-1]
	rung := fmt.Sprintf("%s of %s, which ends at %s", what, claim, l.ExpiresAt)
	if what == "close" { // it may be done once more after a restart
		rung += ", since " + started.String()
	}
	if w.rungs[rung]++; w.rungs[rung] > 1 {
		w.t.Errorf("%s: done %d times", rung, w.rungs[rung])
	}
	earliest := map[string]time.Time{"warn": l.ExpiresAt.Add(-l.Type.Warning), "close": l.ExpiresAt.Add(-l.Type.Grace), "expire": w.ends[claim]}[what]
	if now.Before(earliest) {
		w.t.Errorf("%s: done at %s, before %s", rung, now, earliest)
	}
	if over, ok := w.over[claim]; ok && what != "warn" && now.After(over) {
		w.t.Errorf("%s: done at %s, after it was over at %s", rung, now, over)
	}
	if what == "expire" {
		w.checkEnd(claim, now, started)
	}
}

func (w *walk) checkEnd(claim string, now, started time.Time) {
	latest := w.ends[claim]
	if latest.Before(started) { // each of those before it may take twice its time, and four are closed at once
		latest = started.Add(time.Duration(2+w.found/2) * closeTime)
	}
	if _, again := w.over[claim]; again || now.After(latest) {
		w.t.Errorf("%s expired at %s, want once, and at %s at the latest", claim, now, latest)
	}
	w.over[claim] = now
	delete(w.ends, claim)
}
