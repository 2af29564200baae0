package systemdtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestVerify lets systemd read the units, on a host where all that they name is there.
func TestVerify(t *testing.T) {
	if err := install(); err != nil {
		t.Fatal(err)
	}
	out, err := host.In(t.Context(), "systemd-analyze", "verify", "--man=no", unitDir+service, unitDir+"sandpoold.socket").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestSecurity compares the unit's exposure with what the docs say of it.
func TestSecurity(t *testing.T) {
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "service.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile(`Overall exposure level for sandpoold\.service: (\d)\.(\d)`).FindSubmatch(docs)
	if documented == nil {
		t.Fatal("the docs do not tell the exposure")
	}
	threshold := "--threshold=" + string(documented[1]) + string(documented[2])
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=yes", threshold, filepath.Join("..", service)).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", threshold, err, out)
	}
}

// TestLife starts, asks and stops the service, and has a request start it again.
func TestLife(t *testing.T) {
	c := start(t, "")
	if got := property(t, "ActiveState") + " " + property(t, "SubState"); got != "active running" {
		t.Errorf("the service is %s", got)
	}
	checkSocket(t)
	for name, want := range map[string]string{"LimitNOFILE": "65536", "LimitCORE": "0", "TasksMax": "4096", "MemoryMax": "2147483648"} {
		if got := property(t, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	held := claim(t, c)
	checkAlive(t, c, held)
	await(t, "the status tells of the claim", func() bool { return strings.Contains(property(t, "StatusText"), " 1 claimed,") })
	if group := property(t, "ControlGroup"); !strings.HasSuffix(group, service) || inCgroup(t, group, held.Sandbox) {
		t.Errorf("the service's cgroup is %q, with a process of the sandbox in it: %t", group, inCgroup(t, group, held.Sandbox))
	}

	systemctl(t, "stop", service) // and the socket stays: the next request starts it
	checkSocket(t)
	checkAlive(t, c, held)
	if found := journal(t, "CLAIM_ID="+held.ID); !strings.Contains(found, "claimed ") || !strings.Contains(found, "pool="+held.Pool) {
		t.Errorf("the journal finds of claim %s:\n%s", held.ID, found)
	}
	release(t, c, held)
	await(t, "the journal has its release, once", func() bool { // it takes entries in its own time
		return strings.Count(journal(t, "EVENT=released", "CLAIM_ID="+held.ID, "POOL="+held.Pool), "\n") == 1
	})
}

// checkSocket checks who may connect.
func checkSocket(t *testing.T) {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(host.Inside(socket), &stat); err != nil {
		t.Fatal(err)
	}
	groups, err := os.ReadFile(host.Inside("/etc/group"))
	if err != nil {
		t.Fatal(err)
	}
	if group := fmt.Sprintf("\nsandpool:x:%d:", stat.Gid); stat.Mode != syscall.S_IFSOCK|0o660 || stat.Uid != 0 || !strings.Contains(string(groups), group) {
		t.Errorf("the socket has mode %o, user %d and group %d", stat.Mode, stat.Uid, stat.Gid)
	}
}

// inCgroup tells whether a process with the sandbox's id in its arguments is in a cgroup of systemd's.
func inCgroup(t *testing.T, group, sandbox string) bool {
	t.Helper()
	out, err := host.In(t.Context(), "grep", "--recursive", "--files-with-matches", "--text", "--include=cmdline", sandbox, "/proc").Output()
	if len(out) == 0 {
		t.Fatalf("no process of sandbox %s: %v", sandbox, err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if groups, err := os.ReadFile(host.Inside(filepath.Join(filepath.Dir(path), "cgroup"))); err == nil && strings.Contains(string(groups), group) {
			return true
		}
	}
	return false
}

// TestReload applies a configuration, and keeps it when the next one has a fault.
func TestReload(t *testing.T) {
	c := start(t, "")
	held := claim(t, c)
	if err := configure(3); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := configure(2); err != nil {
			t.Error(err)
		}
	})
	systemctl(t, "reload", service)
	await(t, "the pool has its new size", func() bool {
		pools, err := c.Pools(t.Context())
		return err == nil && pools[0].Target == 3
	})
	pid := property(t, "MainPID")

	if err := put(confFile, "version = 1\nregoin = 'x'\n"); err != nil {
		t.Fatal(err)
	}
	if out, err := try(t, "reload", service); err == nil {
		t.Errorf("a reload of a bad file succeeded: %s", out)
	}
	await(t, "the status shows the fault", func() bool {
		shown, _ := try(t, "status", service)
		return strings.Contains(shown, "Status: ") && strings.Contains(property(t, "StatusText"), "regoin: unknown key")
	})
	if pools, err := c.Pools(t.Context()); err != nil || pools[0].Target != 3 {
		t.Errorf("the pools are %+v, %v", pools, err)
	}
	if state := property(t, "ActiveState"); state != "active" || property(t, "MainPID") != pid {
		t.Errorf("the service is %s with process %s, before %s", state, property(t, "MainPID"), pid)
	}

	if err := configure(2); err != nil {
		t.Fatal(err)
	}
	systemctl(t, "reload", service)
	await(t, "the fault is gone", func() bool { return !strings.Contains(property(t, "StatusText"), "regoin") })
	checkAlive(t, c, held)
	release(t, c, held)
}

// TestWatchdog stops the daemon's process in the middle: systemd replaces it, and claims live on.
func TestWatchdog(t *testing.T) {
	c := start(t, "[Service]\nWatchdogSec=5\nTimeoutAbortSec=5\n")
	held := claim(t, c)
	pid := property(t, "MainPID")
	if out, err := host.In(t.Context(), "kill", "-STOP", pid).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	await(t, "another daemon runs", func() bool {
		return property(t, "MainPID") != pid && property(t, "SubState") == "running"
	})
	await(t, "systemd says why", func() bool { return strings.Contains(journal(t, "-u", service, "_PID=1"), "Watchdog timeout") })
	if n, err := strconv.Atoi(property(t, "NRestarts")); err != nil || n < 1 {
		t.Errorf("%d restarts, %v", n, err)
	}
	checkAlive(t, c, held)
	release(t, c, held)
}

// TestCrashLoop has a daemon that cannot start: systemd gives up at the limit, and starts it again when told to.
func TestCrashLoop(t *testing.T) {
	c := start(t, "[Unit]\nStartLimitIntervalSec=1h\n[Service]\nRestartSec=100ms\n") // a slow machine may need more than the unit's two minutes
	held := claim(t, c)
	good := fmt.Sprintf(config, 2)
	if err := put(confFile, good+"[pools.default]\n"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := configure(2); err != nil {
			t.Error(err)
		}
	})
	if out, err := try(t, "restart", service); err == nil {
		t.Errorf("a daemon with a bad file started: %s", out)
	}
	await(t, "the limit is reached", func() bool { return property(t, "ActiveState") == "failed" })
	if n, err := strconv.Atoi(property(t, "NRestarts")); err != nil || n < 20 || n > 25 {
		t.Errorf("%d restarts, %v", n, err)
	}
	if err := configure(2); err != nil {
		t.Fatal(err)
	}
	systemctl(t, "reset-failed", service, "sandpoold.socket")
	systemctl(t, "start", "sandpoold.socket", service)
	checkAlive(t, c, held)
	release(t, c, held)
}

// TestContainerdRestart restarts containerd below the daemon, which stays the same and serves again.
func TestContainerdRestart(t *testing.T) {
	c := start(t, "")
	held := claim(t, c)
	pid := property(t, "MainPID")
	systemctl(t, "restart", "containerd.service")
	await(t, "the daemon is ready", func() bool { return c.Ready(t.Context()) == nil })
	checkAlive(t, c, held)
	release(t, c, held)
	if now := property(t, "MainPID"); now != pid {
		t.Errorf("the daemon is process %s, before %s", now, pid)
	}
}
