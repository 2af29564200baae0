package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/lifetime"
	"sandpool/lifetime/wait"
	"sandpool/pool"
)

const (
	// idleEvery is how often claims are looked at for idleness.
	idleEvery = time.Second
	// idleShare is the part of one processor below which a sandbox does nothing: a sentry at rest still has its timers.
	idleShare = 0.02
)

// pauser is what the idle policy needs of the pools.
type pauser interface {
	Claims() []pool.Claim
	IdleSince(claim string) (time.Time, bool)
	Pause(ctx context.Context, claim string) error
	Suspend(ctx context.Context, claim string, save pool.Save) error
	End(claim, why string)
}

var _ pauser = (*pool.Controller)(nil)

// idler puts claims that nobody uses to rest, deeper and deeper, as their lifetime types say.
type idler struct {
	claims pauser
	policy func(kind string) configs.Idle
	cpu    func(ids ...string) (map[string]time.Duration, error) // processor time of each sandbox so far
	save   func(ctx context.Context, claim pool.Claim) (checkpoint string, err error)
	log    *slog.Logger

	used map[string]usage // by sandbox
}

// usage is how much processor time a sandbox had taken when it was last seen to take any.
type usage struct {
	cpu    time.Duration
	at     time.Time // of the measurement
	active time.Time // when it last took more than idleShare
}

// run looks at the claims until ctx ends.
func (i *idler) run(ctx context.Context) {
	wait.Every(ctx, idleEvery, func() { i.look(ctx, time.Now()) })
}

// look takes each claim one step further if it is due. Claims of types without an idle policy cost nothing.
func (i *idler) look(ctx context.Context, now time.Time) {
	var awake []string
	var watched []pool.Claim
	for _, c := range i.claims.Claims() {
		if i.policy(c.Lease.Kind).Pause == 0 || c.State != pool.Claimed || c.Lease.Stage == lifetime.Grace {
			continue
		}
		watched = append(watched, c)
		if c.Rest == pool.Awake {
			awake = append(awake, c.Sandbox)
		}
	}
	i.measure(awake, now)
	for _, c := range watched {
		if err := i.step(ctx, c, now); err != nil && context.Cause(ctx) == nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
			i.log.Warn("idle claim could not be put to rest", "claim", c.ID, "err", err)
		}
	}
}

// measure notes which sandboxes have used the processor since the last look.
func (i *idler) measure(ids []string, now time.Time) {
	if len(ids) == 0 {
		clear(i.used)
		return
	}
	cpu, err := i.cpu(ids...)
	if err != nil {
		i.log.Warn("processor use cannot be measured; no claim counts as idle", "err", err)
		clear(i.used)
		return
	}
	next := map[string]usage{}
	for _, id := range ids {
		u, seen := i.used[id]
		if !seen || float64(cpu[id]-u.cpu) > idleShare*float64(now.Sub(u.at)) {
			u.active = now
		}
		u.cpu, u.at = cpu[id], now
		next[id] = u
	}
	i.used = next
}

// step puts a claim one step deeper to rest when it has been idle for long enough.
func (i *idler) step(ctx context.Context, c pool.Claim, now time.Time) error {
	since, idle := i.claims.IdleSince(c.ID)
	if !idle {
		return nil
	}
	if c.Rest == pool.Awake {
		u, seen := i.used[c.Sandbox]
		if !seen {
			return nil
		}
		if u.active.After(since) {
			since = u.active
		}
	}
	p, spent := i.policy(c.Lease.Kind), now.Sub(since)
	switch {
	case c.Rest == pool.Awake && spent >= p.Pause:
		return i.claims.Pause(ctx, c.ID)
	case c.Rest == pool.IdlePaused && p.Suspend > 0 && spent >= p.Suspend && c.Given != pool.Secrets: // which must not be on disk
		return i.claims.Suspend(ctx, c.ID, i.save)
	case c.Rest == pool.Suspended && p.Delete > 0 && spent >= p.Delete:
		i.claims.End(c.ID, "it was idle for too long")
	}
	return nil
}
