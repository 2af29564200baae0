package configs

import (
	"maps"
	"math"
	"slices"
	"time"

	"sandpool/lifetime"
)

// WarmPool is the lifetime type that sandboxes have in a pool: its lifetime is the max_age of pools that have none of their own,
// and its warning is how long before that a replacement is started.
const WarmPool = "warm_pool"

// defaultType is the lifetime type of claims when nothing names another.
const defaultType = "development"

// builtInTypes always exist; a file may change their keys.
var builtInTypes = map[string]Lifetime{
	defaultType: {Lifetime: hours(24), Warning: minutes(30), Grace: minutes(5), Extensions: 3},
	"preview":   {Lifetime: hours(7 * 24), Warning: hours(24), Grace: hours(1), Extensions: 2},
	"cicd":      {Lifetime: hours(2), Warning: minutes(15), Grace: minutes(5)},
	WarmPool:    {Lifetime: hours(1), Warning: minutes(10)},
}

// Lifetime is a type of lifetime: how long a claim lives, how its end comes, and what becomes of it while nobody uses it.
type Lifetime struct {
	Lifetime   lifetime.Duration `toml:"lifetime"`
	Warning    lifetime.Duration `toml:"warning"`    // before the end; 0: none
	Grace      lifetime.Duration `toml:"grace"`      // before the end; 0: none
	Extensions int               `toml:"extensions"` // by half of Lifetime each

	IdlePause   lifetime.Duration `toml:"idle_pause"`   // without use; 0: never, as for the next two
	IdleSuspend lifetime.Duration `toml:"idle_suspend"` // after IdlePause
	IdleDelete  lifetime.Duration `toml:"idle_delete"`  // after IdleSuspend
}

// Type is the part of l that leads a claim to its end.
func (l Lifetime) Type() lifetime.Type {
	return lifetime.Type{Lifetime: l.Lifetime.Std(), Warning: l.Warning.Std(), Grace: l.Grace.Std(), Extensions: l.Extensions}
}

// Idle is how long a claim is left without use until it is put one step deeper to rest, each counted from the step before.
// A step of 0 is not taken, nor are those after it.
type Idle struct{ Pause, Suspend, Delete time.Duration }

// Idle is the part of l that puts idle claims to rest.
func (l Lifetime) Idle() Idle {
	return Idle{Pause: l.IdlePause.Std(), Suspend: l.IdleSuspend.Std(), Delete: l.IdleDelete.Std()}
}

// RefreshAge returns the age at which the replacement of a ready sandbox is started: the pool's max_age less the warning of
// WarmPool, or less the same share of it when the pool has a max_age of its own. 0 when the pool has none.
func (c Config) RefreshAge(p Pool) time.Duration {
	warm := c.Lifetimes[WarmPool]
	if warm.Lifetime <= 0 {
		return p.MaxAge.Std()
	}
	share := float64(warm.Warning) / float64(warm.Lifetime)
	return p.MaxAge.Std() - time.Duration(math.Round(share*float64(p.MaxAge)))
}

// followWarmPool gives the pools whose max_age the file leaves out that of WarmPool.
func (c Config) followWarmPool() {
	for name, pool := range c.Pools {
		if !c.places.has(join(join("pools", name), "max_age")) {
			pool.MaxAge = c.Lifetimes[WarmPool].Lifetime
			c.Pools[name] = pool
		}
	}
}

func (c Config) checkLifetimes(found *faults) {
	names := slices.Sorted(maps.Keys(c.Lifetimes))
	for _, name := range names {
		key := join("lifetimes", name)
		if !typePattern.MatchString(name) {
			found.add(key, "name: %s", typeRule)
		}
		c.Lifetimes[name].check(key, found)
		if name != WarmPool {
			c.checkMaxLifetime(key, name, found)
		}
	}
	found.oneOf("limits.lifetime_type", c.Limits.LifetimeType, names...)
	for name, template := range c.Templates {
		if template.LifetimeType != "" {
			found.oneOf(join(join("templates", name), "lifetime_type"), template.LifetimeType, names...)
		}
	}
}

// checkMaxLifetime puts the fault where the file made it: a limit may be below what a built-in type has.
func (c Config) checkMaxLifetime(key, name string, found *faults) {
	const limit = "limits.max_lifetime"
	lasting, most, key := c.Lifetimes[name].Lifetime, c.Limits.MaxLifetime, join(key, "lifetime")
	switch {
	case lasting <= most || most <= 0: // a limit that is no limit has a fault of its own
	case !found.places.has(key) && found.places.has(limit):
		found.add(limit, "%s: want no less than %s, which is %s", most, key, lasting)
	default:
		found.add(key, "%s: want at most %s, which is %s", lasting, limit, most)
	}
}

// check refuses all that lifetime.Type.Validate refuses.
func (l Lifetime) check(key string, found *faults) {
	if at := join(key, "lifetime"); l.Lifetime == 0 && !found.places.has(at) {
		found.add(at, "missing: want how long a claim of this type lives")
	} else if found.duration(at, l.Lifetime, 1, maxLifetime) {
		l.checkEnd(key, found)
	}
	found.number(join(key, "extensions"), l.Extensions, 0, maxExtensions)
	l.checkIdle(key, found)
}

func (l Lifetime) checkEnd(key string, found *faults) {
	warning, grace := join(key, "warning"), join(key, "grace")
	for at, d := range map[string]lifetime.Duration{warning: l.Warning, grace: l.Grace} {
		if d >= l.Lifetime {
			found.add(at, "%s: want less than lifetime, which is %s", d, l.Lifetime)
		}
		found.duration(at, d, 0, maxLifetime)
	}
	if l.Warning > 0 && l.Warning < l.Grace {
		found.add(warning, "%s: want no less than grace, which is %s, or 0s for none", l.Warning, l.Grace)
	}
}

func (l Lifetime) checkIdle(key string, found *faults) {
	before, left := "", lifetime.Duration(1)
	for _, step := range []struct {
		key   string
		after lifetime.Duration
	}{{"idle_pause", l.IdlePause}, {"idle_suspend", l.IdleSuspend}, {"idle_delete", l.IdleDelete}} {
		at := join(key, step.key)
		if found.duration(at, step.after, 0, maxLifetime) && step.after > 0 && left == 0 {
			found.add(at, "%s: does nothing without %s: want that too, or 0s here", step.after, before)
		}
		before, left = step.key, step.after
	}
}
