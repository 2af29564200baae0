package configs

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"sandpool/lifetime"
)

func TestLifetimeTypes(t *testing.T) {
	c := parse(t, `[lifetimes.development]
lifetime = "12h"
idle_pause = "10m"
idle_suspend = "5m"
idle_delete = "3d"
[lifetimes.ci_nightly]
lifetime = "6h"
extensions = 1
`)
	want := maps.Clone(builtInTypes)
	want["development"] = Lifetime{
		Lifetime: hours(12), Warning: minutes(30), Grace: minutes(5), Extensions: 3, IdlePause: minutes(10), IdleSuspend: minutes(5), IdleDelete: hours(72),
	}
	want["ci_nightly"] = Lifetime{Lifetime: hours(6), Extensions: 1}
	if !maps.Equal(c.Lifetimes, want) {
		t.Errorf("got  %v\nwant %v", c.Lifetimes, want)
	}
	if got, want := c.Lifetimes["development"].Idle(), (Idle{Pause: 10 * time.Minute, Suspend: 5 * time.Minute, Delete: 72 * time.Hour}); got != want {
		t.Errorf("idle %v, want %v", got, want)
	}
	if got, want := c.Lifetimes["preview"].Type(), (lifetime.Type{Lifetime: 168 * time.Hour, Warning: 24 * time.Hour, Grace: time.Hour, Extensions: 2}); got != want {
		t.Errorf("type %v, want %v", got, want)
	}
	if got := Default().Lifetimes; !maps.Equal(got, builtInTypes) {
		t.Errorf("a file changed the built-in types to %v", got)
	}
}

// TestLifetimesAreCheckedAsTypesAre gives each key each of a few values around its bounds: whatever has no fault here is a valid
// Type, and an invalid Type has a fault here.
func TestLifetimesAreCheckedAsTypesAre(t *testing.T) {
	values := []lifetime.Duration{-1, 0, 1, 2, 3, hours(1), hours(365*24) + 1}
	valid := 0
	for _, lasting := range values {
		for _, warning := range values {
			for _, grace := range values {
				for _, extensions := range []int{-1, 0, 1} {
					c := Default()
					c.Limits.MaxLifetime = hours(365 * 24)
					l := Lifetime{Lifetime: lasting, Warning: warning, Grace: grace, Extensions: extensions}
					c.Lifetimes["x"] = l
					err := c.Validate()
					tooLong := lasting > hours(365*24)
					if invalid := l.Type().Validate() != nil || tooLong; invalid != (err != nil) {
						t.Errorf("%+v: %v, but as a type: %v", l, err, l.Type().Validate())
					}
					if err == nil {
						valid++
					}
				}
			}
		}
	}
	if valid == 0 {
		t.Error("no value is valid")
	}
}

func TestMaxAgeFollowsWarmPool(t *testing.T) {
	const warm = "[lifetimes.warm_pool]\nlifetime = '2h'\nwarning = '30m'\n"
	tests := map[string]struct {
		text         string
		age, refresh time.Duration
	}{
		"built in":         {"", time.Hour, 50 * time.Minute},
		"shortened":        {"[pools.default]\nmax_age = '6m'", 6 * time.Minute, 5 * time.Minute},
		"any age":          {"[pools.default]\nmax_age = '0s'", 0, 0},
		"another type":     {warm, 2 * time.Hour, 90 * time.Minute},
		"of the file":      {warm + "[pools.default]\nmax = 9", 2 * time.Hour, 90 * time.Minute},
		"own age":          {"pools.default = {max_age = '8h'}\n" + warm, 8 * time.Hour, 6 * time.Hour},
		"no warning":       {"[lifetimes.warm_pool]\nwarning = '0s'", time.Hour, time.Hour},
		"longer than most": {"[pools.default]\nmax_age = '365d'", 365 * 24 * time.Hour, 7300 * time.Hour},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := parse(t, test.text)
			p := c.Pools["default"]
			if p.MaxAge.Std() != test.age || c.RefreshAge(p) != test.refresh {
				t.Errorf("max age %s, refreshed at %s; want %s and %s", p.MaxAge, c.RefreshAge(p), test.age, test.refresh)
			}
		})
	}
	c := parse(t, warm+"[templates.go]\nimage = 'x'")
	if got := c.PoolOf("go").MaxAge; got != hours(2) {
		t.Errorf("a template without a pool has max age %s, want 2h", got)
	}
}

func TestHooks(t *testing.T) {
	want := []Hook{
		{Events: []string{"*"}, URL: "https://example.com/events", Timeout: seconds(10), Retries: 3},
		{Events: []string{"warning", "killed"}, Command: []string{"/usr/local/bin/notify"}, Timeout: seconds(10), Retries: 3},
	}
	if got := parse(t, sampleWithLists(t)).Hooks; !reflect.DeepEqual(got, want) {
		t.Errorf("hooks of the sample\n got %+v\nwant %+v", got, want)
	}
	c := parse(t, `hooks = [{events = ["killed"], command = ["/x", "-v"], timeout = "1s", retries = 0}]`)
	want = []Hook{{Events: []string{"killed"}, Command: []string{"/x", "-v"}, Timeout: seconds(1)}}
	if !reflect.DeepEqual(c.Hooks, want) {
		t.Errorf("hooks in a list\n got %+v\nwant %+v", c.Hooks, want)
	}
}

func TestTemplatesNameTypes(t *testing.T) {
	c := parse(t, "[limits]\nlifetime_type = 'cicd'\n[templates.a]\nimage = 'x'\nlifetime_type = 'night'\n[templates.b]\nimage = 'x'\n[lifetimes.night]\nlifetime = '8h'")
	got := []string{c.Limits.LifetimeType, c.Templates["a"].LifetimeType, c.Templates["b"].LifetimeType}
	if want := []string{"cicd", "night", ""}; !slices.Equal(got, want) {
		t.Errorf("types %q, want %q", got, want)
	}
}
