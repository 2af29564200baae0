package daemontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/scripts/testhost"
)

// The real programs, each built once.
var (
	buildDaemon  = sync.OnceValues(func() (string, error) { return host.Build(context.Background(), "sandpoold") })
	buildCommand = sync.OnceValues(func() (string, error) { return host.Build(context.Background(), "sandpool") })
)

func realDaemon(t *testing.T) string { return built(t, buildDaemon) }

func realCommand(t *testing.T) string { return built(t, buildCommand) }

func built(t *testing.T, build func() (string, error)) string {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// writeConfig writes what testConfig sets as a configuration file.
func writeConfig(t *testing.T, cfg configs.Config) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sandpoold.toml")
	rewriteConfig(t, file, cfg)
	return file
}

func rewriteConfig(t *testing.T, file string, cfg configs.Config) {
	t.Helper()
	text, err := host.Trusted(host.Config(testhost.Settings{
		"daemon":            {"socket": cfg.Daemon.Socket, "state_dir": cfg.Daemon.StateDir, "log_level": "debug"},
		"containerd":        {"address": cfg.Containerd.Address, "namespace": cfg.Containerd.Namespace},
		"runsc":             {"path": cfg.Runsc.Path, "init": cfg.Runsc.Init},
		"limits":            {"pause_timeout": "1m", "kill_timeout": "1m"},
		"reserves":          testhost.NoReserves,
		"checkpoints":       {"dir": cfg.Checkpoints.Dir},
		"templates.default": {"image": cfg.Templates["default"].Image},
		"pools.default":     {"target": cfg.Pools["default"].Target, "max": cfg.Pools["default"].Max},
	}))
	if err := errors.Join(err, os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func spawn(t *testing.T, program, config, socket string) *testhost.Process {
	t.Helper()
	p, err := host.Spawn("sandpoold", exec.Command(program, "--config", config))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.AwaitSocket(ctx, socket); err != nil {
		t.Fatal(err)
	}
	return p
}

// answers collects what the daemon granted, by request id, and what it was then told to release.
type answers struct {
	mu       sync.Mutex
	claims   map[string]wire.Claim
	released map[string]bool // request ids whose release was asked for: it may have happened or not
}

// load claims and now and then releases, until ctx ends or the daemon is gone.
func (a *answers) load(ctx context.Context, c *client.Client, worker, round int) {
	wait := lifetime.Duration(time.Minute)
	for n := 0; context.Cause(ctx) == nil; n++ {
		request := fmt.Sprintf("w%d-r%d-n%d", worker, round, n)
		claim, err := c.Claim(ctx, wire.ClaimRequest{RequestID: request, Wait: &wait})
		if err != nil {
			return
		}
		a.mu.Lock()
		a.claims[request] = claim
		release := n > 0 || worker%2 == 0 // some are kept through the kill
		a.released[request] = release
		a.mu.Unlock()
		if release && c.Release(ctx, claim.ID) != nil {
			return
		}
	}
}

// granted is how many claims were answered so far, and how many of those are kept.
func (a *answers) granted() (all, kept int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for request := range a.claims {
		if !a.released[request] {
			kept++
		}
	}
	return len(a.claims), kept
}

// TestKilledDaemon kills the real daemon in the middle of claims, releases and refills, again and again. After each new start
// every container must be accounted for, and every claim that was answered must be there and work.
func TestKilledDaemon(t *testing.T) {
	const rounds, workers = 4, 6
	cfg := testConfig(t, 3, 12)
	program, file := realDaemon(t), writeConfig(t, cfg)
	c := &client.Client{Socket: cfg.Daemon.Socket}
	defer c.Close()
	for round := range rounds {
		p := spawn(t, program, file, cfg.Daemon.Socket)
		a := &answers{claims: map[string]wire.Claim{}, released: map[string]bool{}}
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for worker := range workers {
			load.Go(func() { a.load(ctx, c, worker, round) })
		}
		await(t, "claims are under way", func() bool {
			all, kept := a.granted()
			return all >= workers+2*round && kept > 0
		})
		p.Kill()
		cancel()
		load.Wait()

		p = spawn(t, program, file, cfg.Daemon.Socket)
		checkAnswers(t, c, a)
		checkAccounts(t, c)
		releaseAll(t, c)
		p.Kill() // the next round begins with a full pool to adopt
	}
	p := spawn(t, program, file, cfg.Daemon.Socket)
	c.Close()
	if err := p.Stop(patience); err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
	if _, err := os.Lstat(cfg.Daemon.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	checkNothingLeft(t)
}

// checkAnswers checks that the claims that were answered, and not told to end, survived, each with the sandbox it had.
func checkAnswers(t *testing.T, c *client.Client, a *answers) {
	t.Helper()
	sandboxes := map[string]string{}
	kept := 0
	for request, was := range a.claims {
		if other, twice := sandboxes[was.Sandbox]; twice {
			t.Errorf("sandbox %s was given to requests %s and %s", was.Sandbox, other, request)
		}
		sandboxes[was.Sandbox] = request
		if a.released[request] {
			continue
		}
		kept++
		is, err := c.Claim(t.Context(), wire.ClaimRequest{RequestID: request})
		if err != nil || is.ID != was.ID || is.Sandbox != was.Sandbox || is.State != wire.ClaimRunning {
			t.Errorf("request %s got %+v, %v; before the kill it was %+v", request, is, err, was)
			continue
		}
		checkAlive(t, c, is)
	}
	if kept == 0 {
		t.Error("no claim was kept through the kill: the test shows nothing")
	}
}

// checkAccounts waits until the pool is at rest and compares it with containerd: nothing may be there that it does not count.
func checkAccounts(t *testing.T, c *client.Client) {
	t.Helper()
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	claimed := map[string]bool{}
	for _, claim := range list {
		claimed[claim.Sandbox] = true
	}
	awaitPool(t, c)
	await(t, "only warm and claimed sandboxes are left", func() bool {
		return len(containers(t, "")) == len(containers(t, "warm"))+len(containers(t, "claimed"))
	})
	if got, want := containers(t, "claimed"), slices.Sorted(maps.Keys(claimed)); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("containers %v are labelled as claimed, the API has claims on %v", got, want)
	}
	p := onlyPool(t, c)
	if warm := containers(t, "warm"); len(warm) != p.Available || p.InUse != len(claimed) {
		t.Errorf("pool is %+v; %d containers are warm, %d claimed", p, len(warm), len(claimed))
	}
	tasks := ctr(t, "tasks", "ls", "-q")
	if running, all := len(bytes.Fields([]byte(tasks))), len(containers(t, "")); running != all {
		t.Errorf("%d tasks for %d containers", running, all)
	}
}

func releaseAll(t *testing.T, c *client.Client) {
	t.Helper()
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, claim := range list {
		if err := c.Release(t.Context(), claim.ID); err != nil {
			t.Errorf("release: %v", err)
		}
	}
}
