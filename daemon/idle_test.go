package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/lifetime"
	"sandpool/pool"
)

// fakeResters is one claim at rest or not, and what was done to it.
type fakeResters struct {
	claim pool.Claim
	since time.Time // nobody has used it since
	busy  bool      // somebody uses it
	done  []string
}

func (f *fakeResters) Claims() []pool.Claim { return []pool.Claim{f.claim} }

func (f *fakeResters) IdleSince(string) (time.Time, bool) { return f.since, !f.busy }

func (f *fakeResters) Pause(context.Context, string) error {
	f.done = append(f.done, "pause")
	f.claim.Rest = pool.IdlePaused
	return nil
}

func (f *fakeResters) Suspend(ctx context.Context, _ string, save pool.Save) error {
	f.done = append(f.done, "suspend")
	f.claim.Rest = pool.Suspended
	_, err := save(ctx, f.claim)
	return err
}

func (f *fakeResters) End(string, string) { f.done = append(f.done, "end") }

// idling is an idler that looks at one claim, a second between two looks.
type idling struct {
	*idler
	claims *fakeResters
	now    time.Time
	cpu    time.Duration // that its sandbox has used
	lost   bool          // it cannot be measured
	policy configs.Idle
}

func newIdling() *idling {
	began := time.Unix(1e9, 0)
	i := &idling{
		claims: &fakeResters{claim: pool.Claim{Grant: pool.Grant{ID: runningID}, Sandbox: "sb-1", State: pool.Claimed}, since: began},
		now:    began, policy: configs.Idle{Pause: 10 * time.Second, Suspend: 20 * time.Second, Delete: 30 * time.Second},
	}
	i.idler = &idler{
		claims: i.claims, policy: func(string) configs.Idle { return i.policy }, log: slog.New(slog.DiscardHandler),
		cpu: func(ids ...string) (map[string]time.Duration, error) {
			if i.lost {
				return nil, errors.New("cannot be measured")
			}
			used := map[string]time.Duration{}
			for _, id := range ids {
				used[id] = i.cpu
			}
			return used, nil
		},
		save: func(context.Context, pool.Claim) (string, error) { return "ck-1", nil },
	}
	return i
}

// pass looks once a second, while the sandbox takes a share of a processor.
func (i *idling) pass(t *testing.T, seconds int, share float64) {
	t.Helper()
	for range seconds {
		i.now = i.now.Add(time.Second)
		i.cpu += time.Duration(share * float64(time.Second))
		i.look(t.Context(), i.now)
	}
}

func (i *idling) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(i.claims.done, want) {
		t.Errorf("after %s: %v, want %v", i.now.Sub(time.Unix(1e9, 0)), i.claims.done, want)
	}
}

func TestIdleClaimGoesDeeper(t *testing.T) {
	i := newIdling()
	i.pass(t, 10, 0.01) // the first look begins the time
	i.expect(t)
	i.pass(t, 1, 0.01)
	i.expect(t, "pause")
	i.claims.since = i.now // each step begins anew
	i.pass(t, 19, 0)
	i.expect(t, "pause")
	i.pass(t, 1, 0)
	i.expect(t, "pause", "suspend")
	i.claims.since = i.now
	i.pass(t, 29, 0)
	i.expect(t, "pause", "suspend")
	i.pass(t, 1, 0)
	i.expect(t, "pause", "suspend", "end")
}

func TestWhatIsNotIdle(t *testing.T) {
	for name, change := range map[string]func(*idling){
		"in use":               func(i *idling) { i.claims.busy = true },
		"no policy":            func(i *idling) { i.policy = configs.Idle{} },
		"in its grace period":  func(i *idling) { i.claims.claim.Lease.Stage = lifetime.Grace },
		"dead":                 func(i *idling) { i.claims.claim.State = pool.Dead },
		"cannot be measured":   func(i *idling) { i.lost = true },
		"used a moment before": func(i *idling) { i.claims.since = i.now.Add(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIdling()
			change(i)
			i.pass(t, 60, 0)
			i.expect(t)
		})
	}
}

// TestBusySandboxIsNotIdle has no command run in it, but its processes work.
func TestBusySandboxIsNotIdle(t *testing.T) {
	i := newIdling()
	i.pass(t, 60, 0.03)
	i.expect(t)
	i.pass(t, 9, 0)
	i.expect(t)
	i.pass(t, 1, 0)
	i.expect(t, "pause")
}
