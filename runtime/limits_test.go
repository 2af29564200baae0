package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sandpool/lifetime/wait"
	"sandpool/runtime/template"
)

// limits are small enough to be reached in a moment.
var limits = template.Limits{CPUs: 1.5, Memory: 128 << 20, Disk: 8 << 20, PIDs: 40}

// prepareChanged prepares a template of the default image, with limits, as "limited".
func prepareChanged(t *testing.T, e *Engine, change func(*template.Template)) {
	t.Helper()
	limited := template.Template{Image: "file://" + host.Image, Limits: limits}
	change(&limited)
	if err := prepare(t.Context(), e, "limited", limited); err != nil {
		t.Fatal(err)
	}
}

// expectLimits tries a sandbox of limits from inside, and looks at its cgroups on a host that has them.
func expectLimits(t *testing.T, e *Engine, id string) {
	t.Helper()
	for name, test := range map[string]struct{ command, want string }{
		"memory":     {"awk '/MemTotal/ {print $2}' /proc/meminfo", "131072"},
		"processors": {"nproc", strconv.Itoa(min(2, goruntime.NumCPU()))},
		"processes":  {"ulimit -u; i=0; (while [ $i -lt 50 ]; do sleep 1000 > /dev/null 2>&1 & i=$((i+1)); done) 2>&1 | grep -c 'temporarily unavailable'; kill -9 -1", "40 1"},
		"disk":       {"df -k / | awk 'END {print $2}'; dd if=/dev/zero of=/big bs=1M count=9 2>&1 | grep -o 'No space.*'; rm /big", "8192 No space left on device"},
		"tmp":        {"df -k /tmp | awk 'END {print $2}'; dd if=/dev/zero of=/tmp/big bs=1M count=65 2>&1 | grep -o 'No space.*'; rm /tmp/big", "65536 No space left on device"},
	} {
		if _, out := run(t, e, id, "", "sh", "-c", test.command); strings.Join(strings.Fields(out), " ") != test.want {
			t.Errorf("%s: %q, want %q", name, out, test.want)
		}
	}
	for file, want := range map[string]string{"cpu/%s/cpu.cfs_quota_us": "150000", "memory/%s/memory.limit_in_bytes": "134217728", "pids/%s/pids.max": "1184"} {
		path := filepath.Join("/sys/fs/cgroup", fmt.Sprintf(file, filepath.Join(host.Namespace, id)))
		if data, err := os.ReadFile(path); strings.TrimSpace(string(data)) != want {
			t.Errorf("%s holds %q, %v; want %s", path, data, err, want)
		}
	}
}

func TestLimitsHoldAndOutliveACheckpoint(t *testing.T) {
	e := openEngine(t, testConfig(t))
	prepareChanged(t, e, func(*template.Template) {})
	id := startFrom(t, e, "limited")
	expectLimits(t, e, id)
	fit, dir := take(t, e, id)
	if !strings.Contains(fit.Settings, "--overlay2=root:self,size=8388608") {
		t.Errorf("the checkpoint's settings are %q, want the size of its overlay", fit.Settings)
	}
	expectLimits(t, e, restore(t, e, fit, dir))

	if err := e.Halt(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.Revive(t.Context(), id, fit, dir); err != nil {
		t.Fatal(err)
	}
	expectLimits(t, e, id)
}

// What goes over the limit of memory ends with all its sandbox: the kernel cannot tell what is in it.
func TestMemoryLimit(t *testing.T) {
	e := openEngine(t, testConfig(t))
	prepareChanged(t, e, func(*template.Template) {})
	id := startFrom(t, e, "limited")
	p, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"}})
	if err != nil {
		t.Fatal(err)
	}
	code, err := p.Wait(t.Context())
	if err == nil && code == 0 {
		t.Error("a program got more memory than its sandbox has")
	}
	if _, ended := e.exitCode(t.Context(), id); !ended {
		t.Error("the sandbox goes on")
	}
	if got := statusOf(t, e, id); got != Stopped {
		t.Errorf("the sandbox is %s", got)
	}
}

func TestProcessorLimit(t *testing.T) {
	e := openEngine(t, testConfig(t))
	prepareChanged(t, e, func(t *template.Template) { t.Limits.CPUs = 0.3 })
	id := startFrom(t, e, "limited")
	busy, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"sh", "-c", "while :; do :; done"}})
	if err != nil {
		t.Fatal(err)
	}
	stat := filepath.Join("/sys/fs/cgroup", "cpu", host.Namespace, id, "cpu.stat")
	for {
		data, err := os.ReadFile(stat)
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(data)) // nr_periods N nr_throttled N …
		if n, err := strconv.Atoi(fields[3]); err != nil || fields[2] != "nr_throttled" {
			t.Fatalf("%s: %q", stat, data)
		} else if n > 20 {
			break
		}
		if err := wait.Sleep(t.Context(), wait.Interval); err != nil {
			t.Fatal(err)
		}
	}
	if err := busy.Signal(t.Context(), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	finish(t, busy)
}
