package lifetime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The types that sandpoold has built in, but for those without a ladder.
var (
	development = Type{Lifetime: day, Warning: 30 * time.Minute, Grace: 5 * time.Minute, Extensions: 3}
	preview     = Type{Lifetime: 7 * day, Warning: day, Grace: time.Hour, Extensions: 2}
	cicd        = Type{Lifetime: 2 * time.Hour, Warning: 15 * time.Minute, Grace: 5 * time.Minute}
)

const closeTime = time.Minute

func TestLadderOfEachType(t *testing.T) {
	tests := map[string]struct {
		of   Type
		want []string
	}{
		"development": {development, []string{"warn c@23h30m0s", "close c@23h55m0s", "expire c@24h0m0s"}},
		"preview":     {preview, []string{"warn c@144h0m0s", "close c@167h0m0s", "expire c@168h0m0s"}},
		"cicd":        {cicd, []string{"warn c@1h45m0s", "close c@1h55m0s", "expire c@2h0m0s"}},
		"warm_pool":   {Type{Lifetime: time.Hour, Warning: 10 * time.Minute}, []string{"warn c@50m0s", "expire c@1h0m0s"}},
		"one hour":    {development.Within(time.Hour), []string{"warn c@30m0s", "close c@55m0s", "expire c@1h0m0s"}},
		"bare":        {Type{Lifetime: time.Second}, []string{"expire c@1s"}},
		"no warning":  {Type{Lifetime: time.Minute, Grace: time.Second}, []string{"close c@59s", "expire c@1m0s"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			watching(t, func(b *book) {
				b.set("c", NewLease(name, test.of, time.Now()))
				time.Sleep(test.of.Lifetime + time.Minute)
				b.want(test.want...)
			})
		})
	}
}

func TestEachClaimHasItsOwnLadder(t *testing.T) {
	watching(t, func(b *book) {
		b.set("a", NewLease("cicd", cicd, time.Now()))
		b.set("b", NewLease("development", development, time.Now()))
		b.set("gone", NewLease("cicd", cicd, time.Now()))
		time.Sleep(time.Minute)
		b.set("c", NewLease("cicd", cicd, time.Now()))
		b.remove("gone")
		b.remove("unknown")
		time.Sleep(2 * day)
		b.want("warn a@1h45m0s", "warn c@1h46m0s", "close a@1h55m0s", "close c@1h56m0s", "expire a@2h0m0s", "expire c@2h1m0s",
			"warn b@23h30m0s", "close b@23h55m0s", "expire b@24h0m0s")
	})
}

// TestExtensions puts the end off after each warning, and once before the first.
func TestExtensions(t *testing.T) {
	watching(t, func(b *book) {
		b.set("c", NewLease("development", development, time.Now()))
		for _, at := range []time.Duration{time.Hour, 35*time.Hour + 40*time.Minute, 47*time.Hour + 54*time.Minute} {
			time.Sleep(time.Until(b.began.Add(at)))
			if err := b.extend("c"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Until(b.began.Add(3 * day)))
		b.want("warn c@35h30m0s", "warn c@47h30m0s", "warn c@59h30m0s", "close c@59h55m0s", "expire c@60h0m0s")
	})
}

// TestExtensionRacesARung extends a claim while a stage of it is being noted: the extension wins, and nothing is acted upon.
// One that comes after the grace period was noted is refused, and the claim ends.
func TestExtensionRacesARung(t *testing.T) {
	for _, rung := range []Stage{Warned, Grace} {
		watching(t, func(b *book) {
			raced := false
			b.advance = func(claim string, to Stage) error {
				if to == rung && !raced {
					raced = true
					if err := b.extend(claim); err != nil {
						t.Errorf("extension before %s: %v", to, err)
					}
				}
				return nil
			}
			b.closing = func(_ context.Context, claim string) {
				if b.extend(claim) == nil {
					t.Error("a claim was extended while it was closed")
				}
			}
			b.set("c", NewLease("development", development, time.Now()))
			time.Sleep(2 * day)
			want := []string{"warn c@35h30m0s", "close c@35h55m0s", "expire c@36h0m0s"}
			if rung == Grace {
				want = append([]string{"warn c@23h30m0s"}, want...)
			}
			b.want(want...)
		})
	}
}

// TestExtensionRightAfterAWarningWasNoted has the extension come before the Warden hears of its note: it warns of the new end only.
func TestExtensionRightAfterAWarningWasNoted(t *testing.T) {
	watching(t, func(b *book) {
		b.noted = func(claim string, to Stage) {
			if lease, _ := b.Lease(claim); to == Warned && lease.Extended == 0 {
				if err := b.extend(claim); err != nil {
					t.Error(err)
				}
			}
		}
		b.set("c", NewLease("development", development, time.Now()))
		time.Sleep(2 * day)
		b.want("warn c@35h30m0s", "close c@35h55m0s", "expire c@36h0m0s")
	})
}

// TestSetOfWhatIsKnown tells the Warden of each stage that it has noted itself: it does nothing twice.
func TestSetOfWhatIsKnown(t *testing.T) {
	watching(t, func(b *book) {
		again := func(claim string) {
			lease, _ := b.Lease(claim)
			b.set(claim, lease)
			synctest.Wait()
		}
		b.noted = func(claim string, _ Stage) {
			lease, _ := b.Lease(claim)
			b.set(claim, lease)
		}
		b.closing = takes(2 * time.Minute)
		b.set("c", NewLease("cicd", cicd, time.Now()))
		for range 115 {
			time.Sleep(time.Minute + time.Second)
			again("c")
		}
		time.Sleep(day)
		b.want("warn c@1h45m0s", "close c@1h55m0s", "expire c@2h0m0s")
	})
}

// TestStageIsNoLongerAsSeen has the owner of the claims change a lease without a word: the Warden asks when it is refused.
func TestStageIsNoLongerAsSeen(t *testing.T) {
	watching(t, func(b *book) {
		for _, claim := range []string{"ended", "moved"} {
			b.set(claim, NewLease("cicd", cicd, time.Now()))
		}
		b.mu.Lock()
		delete(b.leases, "ended")
		moved := b.leases["moved"]
		moved.ExpiresAt = moved.ExpiresAt.Add(10 * time.Minute)
		b.leases["moved"] = moved
		b.mu.Unlock()
		time.Sleep(day)
		b.want("warn moved@1h55m0s", "close moved@2h5m0s", "expire moved@2h10m0s")
	})
}

// crowd counts how many are inside, and how many were at most.
type crowd struct {
	mu           sync.Mutex
	inside, most int
}

// enter counts one more until leave is called.
func (c *crowd) enter() (leave func()) {
	c.add(1)
	return func() { c.add(-1) }
}

func (c *crowd) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside += n
	c.most = max(c.most, c.inside)
}

// TestFourClosesAtOnce has more claims end at one time than are closed at once: the others wait, and end unclosed if need be.
func TestFourClosesAtOnce(t *testing.T) {
	watching(t, func(b *book) {
		var crowd crowd
		b.closing = func(ctx context.Context, claim string) {
			defer crowd.enter()()
			takes(3*time.Minute)(ctx, claim)
		}
		var ends []string
		for i := range 10 {
			b.set(fmt.Sprint(i), NewLease("cicd", cicd, time.Now()))
			ends = append(ends, fmt.Sprintf("%d@2h0m0s", i))
		}
		time.Sleep(day)
		b.wantAll("expire", ends...)
		closes := map[string]int{}
		for _, entry := range b.log {
			if _, at, _ := strings.Cut(entry, "@"); strings.HasPrefix(entry, "close") {
				closes[at]++
			}
		}
		if crowd.most != 4 || closes["1h55m0s"] != 4 || closes["1h58m0s"] != 4 || len(closes) != 2 {
			t.Errorf("%v closes and up to %d at once, want four and four", closes, crowd.most)
		}
	})
}

// TestOneOwnerHoldsNobodyUp has one owner's claims be as slow as they can at each thing that is done to them, while another owner's
// claim comes to the same stages: that one is warned, saved and told when it is due.
func TestOneOwnerHoldsNobodyUp(t *testing.T) {
	for _, slow := range []string{"warn", "close", "tell"} {
		watching(t, func(b *book) {
			act := func(what string) func(ctx context.Context, claim string) {
				return func(ctx context.Context, claim string) {
					if ownerOf(claim) == "victim" {
						b.note("did "+what, claim, Lease{})
					} else if what == slow {
						<-ctx.Done()
					}
				}
			}
			b.warning, b.closing, b.telling = act("warn"), act("close"), act("tell")
			for i := range 40 {
				b.set(fmt.Sprintf("hostile/%d", i), NewLease("cicd", cicd, time.Now()))
			}
			time.Sleep(time.Second)
			b.set("victim", NewLease("cicd", cicd, time.Now()))
			time.Sleep(day)
			b.wantAll("did warn", "victim@1h45m1s")
			b.wantAll("did close", "victim@1h55m1s")
			b.wantAll("did tell", "victim@1h55m1s")
		})
	}
}

// TestWarningsDelayNothing warns many claims at once, which takes long for each.
func TestWarningsDelayNothing(t *testing.T) {
	watching(t, func(b *book) {
		var crowd crowd
		b.warning = func(ctx context.Context, claim string) {
			defer crowd.enter()()
			takes(10*time.Second)(ctx, claim)
		}
		var closes, ends []string
		for i := 10; i < 50; i++ {
			b.set(fmt.Sprint(i), NewLease("short", Type{Lifetime: 10 * time.Second, Warning: 5 * time.Second, Grace: 2 * time.Second}, time.Now()))
			closes, ends = append(closes, fmt.Sprintf("%d@8s", i)), append(ends, fmt.Sprintf("%d@10s", i))
		}
		time.Sleep(time.Hour)
		b.wantAll("close", closes...)
		b.wantAll("expire", ends...)
		if crowd.most != tellsAtOnce {
			t.Errorf("up to %d warnings at once, want %d", crowd.most, tellsAtOnce)
		}
	})
}

// TestSuspendedHost looks at the claims after the clock has leapt over all stages, as after the host was suspended.
func TestSuspendedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		b.warden.claims, b.warden.acts, b.warden.closeTime, b.warden.began = b, b, closeTime, time.Now()
		b.set("c", NewLease("cicd", cicd, time.Now()))
		b.closing = takes(10 * time.Second)
		leapt := time.Now().Add(day)
		if over, _ := b.warden.look(t.Context(), leapt); len(over) > 0 {
			t.Errorf("%q ended before they were closed", over)
		}
		time.Sleep(9 * time.Second)
		if over, _ := b.warden.look(t.Context(), leapt); len(over) > 0 {
			t.Errorf("%q ended while they were closed", over)
		}
		time.Sleep(2 * time.Second)
		if over, _ := b.warden.look(t.Context(), leapt); !slices.Equal(over, []string{"c"}) {
			t.Errorf("over are %q, want c", over)
		}
		b.want("close c@0s")
	})
}
