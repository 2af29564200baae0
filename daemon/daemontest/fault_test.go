package daemontest

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/images"
	"sandpool/lifetime"
	"sandpool/scripts/testhost"
)

func TestStartsThatMustFail(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(cfg *configs.Config)
		want  []string // parts of the error, what to do among them
	}{
		"containerd is down": {func(cfg *configs.Config) {
			cfg.Containerd.Address = host.Dir + "/no.sock"
			cfg.Containerd.ConnectTimeout = lifetime.Duration(time.Second)
		}, []string{"no.sock", "start containerd", "containerd.address"}},
		"runsc is missing": {func(cfg *configs.Config) { cfg.Runsc.Path = "no-such-runsc" },
			[]string{`"no-such-runsc"`, "install", "runsc.path"}},
		"init is missing": {func(cfg *configs.Config) { cfg.Runsc.Init = "/no/init" }, []string{"/no/init", "runsc.init"}},
		"flag is unknown": {func(cfg *configs.Config) {
			cfg.Runsc.Flags["no-such-flag"] = configs.Setting{Value: "1", Pos: "x.toml:7"}
		},
			[]string{"x.toml:7", "no-such-flag"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t, 1, 1)
			tc.spoil(&cfg)
			got := failToStart(t, cfg)
			t.Log(got)
			for _, part := range tc.want {
				if !strings.Contains(got, part) {
					t.Errorf("error %q does not tell %q", got, part)
				}
			}
		})
	}
}

// TestTemplatesThatCannotBeMadeReady has two templates without an image beside a good one, and mends one of them.
func TestTemplatesThatCannotBeMadeReady(t *testing.T) {
	cfg := testConfig(t, 1, 4)
	late := filepath.Join(filepath.Dir(cfg.Daemon.Socket), "late.tar")
	cfg.Templates["missing"] = configs.Template{Image: "sandpool.local/none:1"}
	cfg.Templates["late"] = configs.Template{Image: configs.FileScheme + late}
	d := start(t, cfg)
	for template, want := range map[string][]string{"missing": {`"missing"`, "sandpool.local/none:1", "import"}, "late": {`"late"`, late}} {
		_, err := d.Claim(t.Context(), wire.ClaimRequest{Template: template})
		wantError(t, err, "pool_empty")
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("claim of %s: %v does not tell %q", template, err, part)
			}
		}
	}
	checkAlive(t, d.Client, claim(t, d.Client, wire.ClaimRequest{}))
	if err := os.Symlink(host.Image, late); err != nil {
		t.Fatal(err)
	}
	var mended wire.Claim
	await(t, "the mended template is tried again", func() (ok bool) {
		var err error
		mended, err = d.Claim(t.Context(), wire.ClaimRequest{Template: "late"})
		return err == nil
	})
	checkAlive(t, d.Client, mended)
}

// TestContainerdGoesAway freezes and then kills containerd under a daemon with claims, and brings it back.
func TestContainerdGoesAway(t *testing.T) {
	cfg := testConfig(t, 2, 4)
	cfg.Daemon.MetricsAddress = freeAddress(t)
	d := start(t, cfg)
	awaitPool(t, d.Client)
	told := events(t)
	c := claim(t, d.Client, wire.ClaimRequest{})
	// A shim that cannot tell containerd of the resume, since it went away at that moment, panics.
	await(t, "containerd has heard of the resume", func() bool {
		line := <-told
		return strings.Contains(line, "/tasks/resumed") && strings.Contains(line, c.Sandbox)
	})
	awaitPool(t, d.Client)
	wantSample(t, cfg.Daemon.MetricsAddress, "sandbox_containerd_up 1")

	pid := host.Pid()
	if err := testhost.Freeze(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // the host must be stopped all the same
	checkOutage(t, d, cfg, c)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	checkRecovery(t, d, cfg, c)
	if err := host.Kill(); err != nil {
		t.Fatal(err)
	}
	checkOutage(t, d, cfg, c)
	if err := host.StartContainerd(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkRecovery(t, d, cfg, c)
	checkAlive(t, d.Client, claim(t, d.Client, wire.ClaimRequest{}))
}

// checkOutage waits until the daemon notices that containerd is away. All that tells of it does so from then on, and a claim lives on.
func checkOutage(t *testing.T, d *running, cfg configs.Config, c wire.Claim) {
	t.Helper()
	await(t, "the outage is noticed", func() bool { return d.Ready(t.Context()) != nil })
	wantError(t, d.Ready(t.Context()), "unavailable")
	wantSample(t, cfg.Daemon.MetricsAddress, "sandbox_containerd_up 0")
	_, err := d.Claim(t.Context(), wire.ClaimRequest{})
	wantError(t, err, "unavailable")
	if err != nil && !strings.Contains(err.Error(), host.Address) {
		t.Errorf("error %q does not name the socket", err)
	}
	if _, err := d.Get(t.Context(), c.ID); err != nil {
		t.Errorf("the claim is not known any more: %v", err)
	}
}

// checkRecovery waits until the daemon is ready again. All that tells of an outage is silent from then on, and the claim lives.
func checkRecovery(t *testing.T, d *running, cfg configs.Config, c wire.Claim) {
	t.Helper()
	await(t, "the daemon is ready again", func() bool { return d.Ready(t.Context()) == nil })
	wantSample(t, cfg.Daemon.MetricsAddress, "sandbox_containerd_up 1")
	checkAlive(t, d.Client, c)
	if p := awaitPool(t, d.Client); p.InUse != 1 {
		t.Errorf("pool is %+v, want 1 in use", p)
	}
}

// events returns the lines that containerd's own client prints of every event from now on.
func events(t *testing.T) <-chan string {
	t.Helper()
	cmd := host.Command(t.Context(), "events")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000) // more than one test makes
	go func() {
		defer close(lines)
		for r := bufio.NewScanner(stdout); r.Scan(); {
			lines <- r.Text()
		}
		_ = cmd.Wait() // containerd went away, or the test has ended
	}()
	await(t, "containerd tells of events", func() bool {
		ctr(t, "images", "label", images.BusyboxName, "test=events")
		return len(lines) > 0
	})
	return lines
}

// TestSandboxDiesWhileClaimed kills a claimed sandbox behind the daemon's back.
func TestSandboxDiesWhileClaimed(t *testing.T) {
	d := start(t, testConfig(t, 1, 2))
	c := claim(t, d.Client, wire.ClaimRequest{})
	ctr(t, "tasks", "kill", "--signal", "SIGKILL", c.Sandbox)
	await(t, "the claim is dead", func() bool {
		got, err := d.Get(t.Context(), c.ID)
		return err == nil && got.State == wire.ClaimDead && got.Reason != ""
	})
	_, _, err := output(t.Context(), d.Client, c.ID, "", "true")
	wantError(t, err, "conflict")
	if err := d.Release(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
}

// TestSandboxDiesInThePool kills a warm sandbox: it must never be handed out.
func TestSandboxDiesInThePool(t *testing.T) {
	d := start(t, testConfig(t, 1, 2))
	awaitPool(t, d.Client)
	victim := containers(t, "warm")[0]
	killSentry(t, victim)
	await(t, "the dead sandbox is gone", func() bool {
		left := containers(t, "")
		return len(left) == 0 || left[0] != victim
	})
	awaitPool(t, d.Client)
	c := claim(t, d.Client, wire.ClaimRequest{})
	if c.Sandbox == victim {
		t.Error("the dead sandbox was handed out")
	}
	checkAlive(t, d.Client, c)
}

// killSentry ends the process that is the kernel of a sandbox, as the kernel of the host would for want of memory.
func killSentry(t *testing.T, sandbox string) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	killed := false
	for _, path := range commands {
		args, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		words := strings.Split(string(args), "\x00")
		if !slices.Contains(words, "boot") || !slices.Contains(words, sandbox) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Fatal(err)
		}
		killed = true
	}
	if !killed {
		t.Fatalf("sandbox %s has no sentry", sandbox)
	}
}
