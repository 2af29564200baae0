package daemontest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// plant leaves something of a user in every place that outlives a command.
const plant = `
echo secret > /planted; echo secret > /tmp/planted; echo secret > /dev/shm/planted; ln -s /bin/sh /usr/bin/planted
echo planted >> /etc/passwd
PLANTED=secret setsid sh -c 'memory=$(head -c 4000000 /dev/zero | tr "\\0" P); nc -l -p 4444; sleep 4321' > /dev/null 2>&1 < /dev/null &
until netstat -ltn | grep -q :4444; do sleep 0.05; done`

// look prints what of that is there.
const look = `
find / -path /proc -prune -o -name 'planted*' -print
grep -q planted /etc/passwd && echo changed file
grep -l PLANTED=secret /proc/[0-9]*/environ > /dev/null 2>&1 && echo environment
ps | grep -q '[m]emory=' && echo process
netstat -ltn | grep -q :4444 && echo listener
true`

// TestResetLeavesNothing gives the slot of a user to the next one, who looks for what the first has planted.
func TestResetLeavesNothing(t *testing.T) {
	cfg := testConfig(t, 1, 1)
	p := cfg.Pools["default"]
	p.Recycle = configs.RecycleReset
	cfg.Pools["default"] = p
	d := start(t, cfg)
	first := claim(t, d.Client, wire.ClaimRequest{})
	if code, out, err := output(t.Context(), d.Client, first.ID, "", "sh", "-c", plant); err != nil || code != 0 {
		t.Fatalf("plant: exit code %d, %q, %v", code, out, err)
	}
	_, found, err := output(t.Context(), d.Client, first.ID, "", "sh", "-c", look)
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range []string{"/planted\n", "/tmp/planted", "/dev/shm/planted", "/usr/bin/planted", "changed file", "environment", "process", "listener"} {
		if !strings.Contains(found, trace) {
			t.Errorf("%q was not planted; found is only %q", trace, found)
		}
	}
	if err := d.Release(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	second := claim(t, d.Client, wire.ClaimRequest{})
	if second.Sandbox == first.Sandbox {
		t.Errorf("sandbox %s was handed out again", first.Sandbox)
	}
	if code, found, err := output(t.Context(), d.Client, second.ID, "", "sh", "-c", look); err != nil || code != 0 || found != "" {
		t.Errorf("the next user finds %q, exit code %d, %v", found, code, err)
	}
}

// poolOf returns the pool of a template.
func poolOf(t *testing.T, c *client.Client, template string) wire.Pool {
	t.Helper()
	pools, err := c.Pools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pools {
		if p.Template == template {
			return p
		}
	}
	return wire.Pool{}
}

// TestPoolsOfManyKinds has pools that prewarm, fail to, run hot, and lend to one another.
func TestPoolsOfManyKinds(t *testing.T) {
	cfg := testConfig(t, 1, 2)
	image := cfg.Templates["default"]
	add := func(name string, target, hot int, change func(*configs.Template)) {
		tmpl, p := image, cfg.Pools["default"]
		change(&tmpl)
		p.Min, p.Target, p.Hot = target, target, hot
		cfg.Templates[name], cfg.Pools[name] = tmpl, p
	}
	minute := lifetime.Duration(time.Minute)
	add("warmed", 1, 0, func(tmpl *configs.Template) {
		tmpl.Prewarm, tmpl.PrewarmTimeout = []string{"echo ready > /tmp/warmed"}, minute
		tmpl.ReadyCommand, tmpl.ReadyTimeout = "test -s /tmp/warmed", minute
	})
	add("broken", 1, 0, func(tmpl *configs.Template) {
		tmpl.Prewarm, tmpl.PrewarmTimeout = []string{"echo no network here; exit 3"}, minute
	})
	add("generic", 1, 1, func(*configs.Template) {})
	add("rare", 0, 0, func(*configs.Template) {})
	cfg.Daemon.MetricsAddress = freeAddress(t)
	d := start(t, cfg)

	await(t, "the broken pool says why", func() bool {
		p := poolOf(t, d.Client, "broken")
		return strings.Contains(p.Degraded, "exit code 3") && strings.Contains(p.Degraded, "no network here") && p.Available == 0
	})
	if !strings.Contains(scrape(t, cfg.Daemon.MetricsAddress), "\nsandbox_failed_steps_total{step=\"prewarm\",template=\"broken\"} ") {
		t.Error("the failed step is not counted")
	}
	await(t, "the others are full", func() bool {
		return poolOf(t, d.Client, "warmed").Available == 1 && poolOf(t, d.Client, "generic").Running == 1
	})
	if code, out, err := output(t.Context(), d.Client, claim(t, d.Client, wire.ClaimRequest{Template: "warmed"}).ID, "", "cat", "/tmp/warmed"); err != nil || code != 0 || out != "ready\n" {
		t.Errorf("prewarmed file: %d, %q, %v", code, out, err)
	}
	hot := claim(t, d.Client, wire.ClaimRequest{Template: "generic"})
	if hot.Tier != wire.TierHot {
		t.Errorf("tier is %s, want hot", hot.Tier)
	}
	if err := d.Release(t.Context(), hot.ID); err != nil {
		t.Fatal(err)
	}
	await(t, "one is ready for others", func() bool { return poolOf(t, d.Client, "generic").Available > 0 })
	lent := claim(t, d.Client, wire.ClaimRequest{Template: "rare", Fallback: true})
	if lent.Tier != wire.TierFallback || lent.Template != "rare" || lent.Pool != "local:generic" {
		t.Errorf("claim with fallback is %+v", lent)
	}
	checkAlive(t, d.Client, lent)
	if own := claim(t, d.Client, wire.ClaimRequest{Template: "rare"}); own.Tier != wire.TierCold || own.Pool != "local:rare" {
		t.Errorf("claim without fallback is %+v", own)
	}
}

// TestReload reloads good and bad configurations into a daemon whose host was short at first. A reload is asked for by a
// channel without a buffer, so that the next one is taken only when the last is done.
func TestReload(t *testing.T) {
	cfg := testConfig(t, 1, 4)
	cfg.Reserves.PIDs = 1 << 30
	const large = 1 << 18 // MiB, more than a host has
	template := cfg.Templates["default"]
	template.MemoryMiB = large
	cfg.Templates["default"] = template
	type loaded struct {
		cfg configs.Config
		err error
	}
	hangup, loads := make(chan os.Signal), make(chan loaded)
	d := start(t, cfg, func(o *daemon.Options) {
		o.Reload, o.Load = hangup, func() (configs.Config, error) {
			l := <-loads
			return l.cfg, l.err
		}
	})
	reload := func(c configs.Config, err error) {
		hangup <- syscall.SIGHUP
		loads <- loaded{c, err}
	}
	p := onlyPool(t, d.Client)
	if p.Total != 0 || p.Warming != 0 || !strings.HasPrefix(p.Blocked, "pids: ") {
		t.Errorf("pool on a short host is %+v", p)
	}

	enough := cfg
	enough.Reserves = configs.Reserves{}
	reload(enough, nil)
	if p := awaitPool(t, d.Client); p.Blocked != "" {
		t.Errorf("blocked: %s", p.Blocked)
	}
	c := claim(t, d.Client, wire.ClaimRequest{})

	bounded := enough
	bounded.Reserves.MemoryOvercommit = 0.1
	reload(bounded, nil)
	await(t, "too much is promised", func() bool { return strings.Contains(onlyPool(t, d.Client).Blocked, "reserves.memory_overcommit") })
	if info, err := d.Info(t.Context()); err != nil || info.Promised.MemoryMiB < large || info.Promised.HostMemoryMiB == 0 || info.Promised.HostDiskMiB == 0 {
		t.Errorf("promised is %+v, %v", info.Promised, err)
	}
	reload(enough, nil)

	bad := enough
	bad.Templates = map[string]configs.Template{"default": {Image: "sandpool.local/none:1"}}
	bad.Limits.LifetimeType = "cicd"
	reload(bad, nil)
	reload(configs.Config{}, errors.New("a fault in the file"))
	if p := onlyPool(t, d.Client); p.Template != "default" || p.Target != 1 {
		t.Errorf("pool after bad reloads is %+v", p)
	}

	other := enough
	other.Templates = map[string]configs.Template{"other": cfg.Templates["default"]}
	size := cfg.Pools["default"]
	size.Target = 2
	other.Pools = map[string]configs.Pool{"other": size}
	other.Limits.LifetimeType = "cicd"
	reload(other, nil)
	await(t, "the new pool is full", func() bool { return poolOf(t, d.Client, "other").Available == 2 })
	if pools, err := d.Pools(t.Context()); err != nil || len(pools) != 1 {
		t.Errorf("pools are %+v, %v", pools, err)
	}
	checkAlive(t, d.Client, c)
	_, err := d.Claim(t.Context(), wire.ClaimRequest{})
	wantError(t, err, "not_found")
	if got := claim(t, d.Client, wire.ClaimRequest{Template: "other"}); got.ExpiresAt.Sub(got.ClaimedAt) != 2*time.Hour {
		t.Errorf("claim after the reload is %+v", got)
	}
	if err := d.Release(t.Context(), c.ID); err != nil {
		t.Errorf("release of a claim whose pool is gone: %v", err)
	}
}

// TestLiveChanges changes the pool of the real daemon by the API and by SIGHUP, under a claim that must survive it all.
func TestLiveChanges(t *testing.T) {
	cfg := testConfig(t, 1, 4)
	program, file := realDaemon(t), writeConfig(t, cfg)
	states := listenForStates(t, filepath.Join(filepath.Dir(cfg.Daemon.Socket), "n"))
	t.Setenv("NOTIFY_SOCKET", states.LocalAddr().String())
	p := spawn(t, program, file, cfg.Daemon.Socket)
	c := &client.Client{Socket: cfg.Daemon.Socket}
	kept := claim(t, c, wire.ClaimRequest{})

	target, hold := 3, false
	if got, err := c.ChangePool(t.Context(), "default", wire.PoolChange{Target: &target}); err != nil || got.Target != 3 || got.Min != 1 {
		t.Errorf("changed pool is %+v, %v", got, err)
	}
	await(t, "the pool has its new size", func() bool { return onlyPool(t, c).Available == 2 })
	if got, err := c.DrainPool(t.Context(), "local:default"); err != nil || !got.Hold || got.Available != 0 {
		t.Errorf("drained pool is %+v, %v", got, err)
	}
	await(t, "the drained sandboxes are gone", func() bool { return len(containers(t, "")) == 1 })
	if got, err := c.ChangePool(t.Context(), "default", wire.PoolChange{Hold: &hold}); err != nil || got.Hold {
		t.Errorf("pool is %+v, %v", got, err)
	}
	await(t, "the pool is filled again", func() bool { return onlyPool(t, c).Available == 2 })

	size := cfg.Pools["default"]
	size.Target = 2
	cfg.Pools["default"] = size
	rewriteConfig(t, file, cfg)
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitState(t, states, "RELOADING=1\nMONOTONIC_USEC=")
	awaitState(t, states, "READY=1")
	if got := onlyPool(t, c); got.Target != 2 || got.Min != 2 || got.InUse != 1 {
		t.Errorf("pool after the reload is %+v", got)
	}
	checkAlive(t, c, kept)
	c.Close()
	if err := p.Stop(patience); err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
	checkNothingLeft(t)
}
