package daemon

import (
	"maps"
	"slices"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/runtime/ulimit"
)

// TestSizesAreJudgedAlike goes through sizes at and over every bound: the file and the API must refuse the same ones.
func TestSizesAreJudgedAlike(t *testing.T) {
	refused := 0
	edges := []int{-1, 0, 1, 3, 4}
	for _, least := range edges {
		for _, target := range edges {
			for _, most := range edges {
				for _, hot := range edges {
					for _, percent := range [][2]int{{0, 0}, {1, 0}, {70, 30}, {100, 99}, {101, 0}, {30, 30}, {30, -1}} {
						c := configs.Default()
						p := c.Pools["default"]
						p.Min, p.Target, p.Max, p.Hot, p.ScaleUp, p.ScaleDown = least, target, most, hot, percent[0], percent[1]
						c.Pools["default"] = p
						inFile, inPool := c.Validate(), poolSize(p).Validate()
						if (inFile == nil) != (inPool == nil) {
							t.Errorf("%+v: the file's check says %v, the pool's %v", p, inFile, inPool)
						}
						if inPool != nil {
							refused++
						}
					}
				}
			}
		}
	}
	if all := len(edges) * len(edges) * len(edges) * len(edges) * 7; refused == 0 || refused == all {
		t.Errorf("%d of %d sizes are refused", refused, all)
	}
}

func TestPoolConfigs(t *testing.T) {
	c := configs.Default()
	p := c.Pools["default"]
	p.Min, p.Hot, p.Adaptive, p.MaxAge, p.Recycle = 3, 2, true, lifetime.Duration(time.Minute), configs.RecycleReset
	c.Pools["default"] = p
	c.Templates["rare"] = configs.Template{Image: "x"}
	want := []pool.Config{
		{Name: "local:default", Template: "default", MaxAge: time.Minute, RefreshAge: 50 * time.Second, Recycle: pool.RecycleReset,
			Size: pool.Size{Min: 3, Target: 8, Max: 32, ScaleUp: 70, ScaleDown: 30, Hot: 2, Adaptive: true}},
		{Name: "local:rare", Template: "rare", MaxAge: time.Hour, RefreshAge: 50 * time.Minute, Recycle: pool.RecycleDestroy,
			Size: pool.Size{Max: 32, ScaleUp: 70, ScaleDown: 30}},
	}
	if got := poolConfigs(c); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFixedChanges(t *testing.T) {
	parse := func(text string) configs.Config {
		c, err := configs.Parse("f.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for text, want := range map[string][]string{
		"":                                    nil,
		"\n\n[runsc.flags]\nnetwork = 'none'": nil, // said elsewhere in the file
		"[limits]\nclaim_wait = '1s'\nlifetime_type = 'preview'\n[lifetimes.preview]\nextensions = 9\n[checkpoints]\nmax_count = 1\n[reserves]\npids = 0\n[images]\npull = 'always'\n[pools.default]\ntarget = 1": nil,
		"region = 'eu'\n[daemon]\nlog_level = 'debug'\n[limits]\nstarts = 3\nkill_timeout = '1s'":                                                                                                                 {"region", "[daemon]", "limits.kill_timeout", "limits.starts"},
		"[runsc.flags]\ndebug = true":             {"[runsc]"},
		"[tracing]\nsample = 0.5":                 {"[tracing]"},
		"[network]\nresolvers = ['192.0.2.1:53']": {"[network]"},
		"[checkpoints]\ndir = '/x'\ntimeout = '1s'\n[events]\nkeep = 200\n[[hooks]]\nevents = ['*']\ncommand = ['/x']": {"checkpoints.dir", "checkpoints.timeout", "[events]", "[[hooks]]"},
	} {
		if got := fixedChanges(configs.Default(), parse(text)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestTakeOver changes all that is said of checkpoints: what is not taken over is named.
func TestTakeOver(t *testing.T) {
	now, next := configs.Default(), configs.Default()
	next.Checkpoints = configs.Checkpoints{Dir: "/x", MaxAge: 1, MaxCount: 2, MaxMiB: 3, MaxCountPerUser: 4, MaxMiBPerUser: 5, Timeout: 6}
	want := next.Checkpoints
	want.Dir, want.Timeout = now.Checkpoints.Dir, now.Checkpoints.Timeout
	if got := applied(now, next).Checkpoints; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := fixedChanges(now, next), []string{"checkpoints.dir", "checkpoints.timeout"}; !slices.Equal(got, want) {
		t.Errorf("%q wait for a restart, want %q", got, want)
	}
}

func TestTemplatesForTheEngine(t *testing.T) {
	c, err := configs.Parse("f.toml", []byte("[templates.go]\nimage = 'x'\nallow_setuid = true\nulimits = {nofile = '64:128', core = -1}"))
	if err != nil {
		t.Fatal(err)
	}
	got := wantedTemplates(c)["go"]
	want := map[string]ulimit.Limit{"nofile": {Soft: 64, Hard: 128}, "core": {Soft: ulimit.Unlimited, Hard: ulimit.Unlimited}}
	if !got.AllowSetuid || !maps.Equal(got.Limits.Ulimits, want) {
		t.Errorf("got %+v, want set-uid and %v", got, want)
	}
}

// TestNetworkOfATemplate joins the variables of the proxy to a template's own, which win.
func TestNetworkOfATemplate(t *testing.T) {
	c, err := configs.Parse("f.toml", []byte(`
[templates.plain]
image = "x"
env = ["A=1"]
[templates.door]
image = "x"
env = ["https_proxy=mine"]
[templates.door.network]
mode = "door"
allow = ["a.test"]
proxy_env = true
`))
	if err != nil {
		t.Fatal(err)
	}
	wanted := wantedTemplates(c)
	if plain := wanted["plain"]; plain.Network != "" || plain.Rules != "" || !slices.Equal(plain.Env, []string{"A=1"}) {
		t.Errorf("%+v", plain)
	}
	const proxy = "http://127.0.0.1:3128"
	want := []string{"https_proxy=mine", "HTTP_PROXY=" + proxy, "HTTPS_PROXY=" + proxy, "NO_PROXY=localhost,127.0.0.1,::1", "http_proxy=" + proxy, "no_proxy=localhost,127.0.0.1,::1"}
	door := wanted["door"]
	if door.Network != "door" || door.Rules != `[{"mode":"door","allow":["a.test"],"proxy_env":true,"max_connections":256}]` || !slices.Equal(door.Env, want) {
		t.Errorf("%+v", door)
	}
}
