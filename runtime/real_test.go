package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"sandpool/runtime/call"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/image"
	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
	"sandpool/scripts/testhost"
)

// patience is how long a test waits for what must come; a machine under load is slow.
const patience = 90 * time.Second

var host *testhost.Host

func TestMain(m *testing.M) {
	os.Exit(testhost.Main(m, testhost.Options{Namespace: "sandpool-runtime"}, &host))
}

// testConfig uses the test host's containerd and a state folder of the test's own.
func testConfig(t *testing.T) Config {
	dir, err := os.MkdirTemp(host.Dir, "e") //nolint:usetesting // short, and looked at by the host's Leftovers
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Address: host.Address, Namespace: host.Namespace, Snapshotter: "overlayfs", ConnectTimeout: patience,
		Runsc: host.Runsc, Shim: runsc.AutoShim, Init: host.Init, StateDir: dir,
		Platforms: []string{runsc.Systrap}, Settings: map[string]runsc.Setting{"network": {Value: "none", Pos: "test:1"}},
		CanaryTimeout: patience, StartTimeout: patience, PauseTimeout: patience, KillTimeout: patience, CheckpointTimeout: patience,
		Images:  image.Policy{Pull: image.PullMissing, PullTimeout: patience, StallTimeout: patience, KeepUnused: time.Hour},
		Fetched: func(image.Status) {}, Called: func(string, time.Duration, error) {}, Step: func(string) {},
	}
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// openEngine opens an engine with the default image's template prepared, as "default".
func openEngine(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e, err := Open(t.Context(), cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := prepare(t.Context(), e, "default", template.Template{Image: "file://" + host.Image, Env: []string{"FROM=template"}}); err != nil {
		t.Fatal(err)
	}
	return e
}

// prepared are the templates of the test that runs, by name.
var prepared = map[string]*Prepared{}

// prepare makes a template ready for startFrom and others that name it.
func prepare(ctx context.Context, e *Engine, name string, t template.Template) error {
	ready, err := e.Prepare(ctx, name, t)
	if err == nil {
		prepared[name] = ready
	}
	return err
}

// startSandbox starts a sandbox that the test's end destroys.
func startSandbox(t *testing.T, e *Engine) string {
	t.Helper()
	return startFrom(t, e, "default")
}

// newID returns the id of a sandbox that the test's end destroys.
func newID(t *testing.T, e *Engine) string {
	t.Helper()
	id := NewID()
	t.Cleanup(func() {
		if err := e.Destroy(context.WithoutCancel(t.Context()), id); err != nil {
			t.Error(err)
		}
	})
	return id
}

// startFrom starts a sandbox of a template that the test's end destroys.
func startFrom(t *testing.T, e *Engine, template string) string {
	t.Helper()
	id := newID(t, e)
	if _, err := e.Start(t.Context(), id, prepared[template], map[string]string{"sandpool.state": "test"}); err != nil {
		t.Fatal(err)
	}
	return id
}

// run executes a command and returns its exit code and output.
func run(t *testing.T, e *Engine, id, stdin string, args ...string) (int, string) {
	t.Helper()
	var out, errs bytes.Buffer
	p, err := e.Exec(t.Context(), id, ExecSpec{Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	if err != nil {
		t.Fatalf("%v; %s", err, fate(t, e, id))
	}
	code, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return code, out.String() + errs.String()
}

// fate tells what became of a sandbox that should run.
func fate(t *testing.T, e *Engine, id string) string {
	t.Helper()
	c, err := e.client.LoadContainer(t.Context(), id)
	if err != nil {
		return err.Error()
	}
	task, err := c.Task(t.Context(), nil)
	if err != nil {
		return err.Error()
	}
	status, err := task.Status(t.Context())
	return fmt.Sprintf("its task: %+v, %v", status, err)
}

func statusOf(t *testing.T, e *Engine, id string) Status {
	t.Helper()
	listed, err := e.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listed {
		if l.ID == id {
			return l.Status
		}
	}
	return ""
}

func TestLifeOfASandbox(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	if code, out := run(t, e, id, "", "cat", "/proc/version"); code != 0 || !strings.Contains(out, "gvisor") {
		t.Errorf("/proc/version: exit code %d, %q; want gvisor in it", code, out)
	}
	if code, out := run(t, e, id, "in", "sh", "-c", "cat; echo $FROM; hostname; exit 7"); code != 7 || out != "intemplate\n"+id+"\n" {
		t.Errorf("exit code %d, output %q", code, out)
	}
	if code, out := run(t, e, id, "", "/.sandpool/init", "ready"); code != 0 {
		t.Errorf("init is not ready: %d %s", code, out)
	}
	if code, _ := run(t, e, id, "", "sh", "-c", "echo x > /.sandpool/init"); code == 0 {
		t.Error("the init can be overwritten from inside")
	}
	for range 3 {
		if err := e.Pause(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got := statusOf(t, e, id); got != Paused {
			t.Errorf("status after a pause: %q", got)
		}
		if err := e.Resume(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got := statusOf(t, e, id); got != Running {
			t.Errorf("status after a resume: %q", got)
		}
	}
	if err := e.Label(t.Context(), id, nil); err != nil { // no label is no reason to write all that a container has
		t.Fatal(err)
	}
	if err := e.Label(t.Context(), id, map[string]string{"sandpool.claim": "c-1"}); err != nil {
		t.Fatal(err)
	}
	listed, err := e.List(t.Context())
	if err != nil || len(listed) != 1 || listed[0].Labels["sandpool.claim"] != "c-1" || listed[0].Labels["sandpool.state"] != "test" {
		t.Errorf("list: %v, %v; want both labels", listed, err)
	}
}

// expectNothing looks for what a destroyed sandbox may have left: containerd's objects, processes, cgroups.
func expectNothing(t *testing.T, id string) {
	t.Helper()
	if left := servants(t, id); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	for _, args := range [][]string{{"containers", "ls", "-q"}, {"tasks", "ls", "-q"}, {"snapshots", "ls"}, {"leases", "ls", "-q"}} {
		out, err := host.Command(t.Context(), args...).CombinedOutput()
		if err != nil || strings.Contains(string(out), id) {
			t.Errorf("ctr %q: %v, %s; want nothing of %s", args, err, out, id)
		}
	}
	left, err := filepath.Glob("/sys/fs/cgroup/*/" + host.Namespace + "/" + id)
	if err != nil || len(left) > 0 {
		t.Errorf("cgroups are left: %v, %v", left, err)
	}
	left, err = filepath.Glob(filepath.Join(host.Dir, "e*", "shim", "*"+id+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the sandbox's own files are left: %v, %v", left, err)
	}
}

// servants returns the command lines of processes that serve one of ids or, with no ids, anything of the test host.
func servants(t *testing.T, ids ...string) []string {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) == 0 {
		ids = []string{host.Dir}
	}
	var left []string
	for _, dir := range dirs {
		line, err := os.ReadFile("/proc/" + dir.Name() + "/cmdline")
		// containerd tidies up behind a shim that was killed with a command of its own, which ends by itself.
		if err != nil || !bytes.Contains(line, []byte("runsc")) || bytes.Contains(line, []byte("\x00delete\x00")) {
			continue
		}
		for _, id := range ids {
			if bytes.Contains(line, []byte(id)) {
				left = append(left, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
			}
		}
	}
	return left
}

func TestDestroyLeavesNothing(t *testing.T) {
	e := openEngine(t, testConfig(t))
	for _, state := range []string{"running", "paused"} {
		t.Run(state, func(t *testing.T) {
			id := startSandbox(t, e)
			if state == "paused" {
				if err := e.Pause(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			destroyWithoutForce(t, e, id)
			if err := e.Destroy(t.Context(), id); err != nil {
				t.Errorf("second destroy: %v", err)
			}
		})
	}
}

// destroyWithoutForce destroys a sandbox; that force would be needed is a fault.
func destroyWithoutForce(t *testing.T, e *Engine, id string) {
	t.Helper()
	err := e.calls.Do(t.Context(), e.cfg.KillTimeout, call.Op{Verb: "destroy"}, func(ctx context.Context) error { return e.destroy(ctx, id) })
	if err != nil {
		t.Error(err)
	}
	expectNothing(t, id)
}

func TestDestroyOfAHalfMadeSandbox(t *testing.T) {
	e := openEngine(t, testConfig(t))
	ctx := namespaces.WithNamespace(t.Context(), host.Namespace)
	for _, step := range []string{"container", "task", "dead task"} {
		t.Run(step, func(t *testing.T) {
			id := NewID()
			root, err := e.create(ctx, id, prepared["default"], nil)
			if err != nil {
				t.Fatal(err)
			}
			if step != "container" {
				if err := e.createTask(ctx, id, root); err != nil {
					t.Fatal(err)
				}
			}
			if step == "dead task" {
				if err := errors.Join(hostproc.Kill(ctx, id, hostproc.Sentry), e.awaitStop(ctx, id, tasktypes.Status_CREATED)); err != nil {
					t.Fatal(err)
				}
			}
			destroyWithoutForce(t, e, id)
		})
	}
}

func TestPlatformThatFailsIsPassedOver(t *testing.T) {
	cfg := testConfig(t)
	cfg.Runsc = wrapRunsc(t, `case "$*" in *--platform=kvm*" create "*) exit 1;; esac`)
	cfg.Platforms = []string{runsc.KVM, runsc.Systrap} // both have patience: the second is to work on a machine under load
	e, err := Open(t.Context(), cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	info := e.Info()
	if info.Platform != runsc.Systrap || len(info.Canaries) != 2 || info.Canaries[0].OK || info.Canaries[0].Reason == "" || !info.Canaries[1].OK {
		t.Errorf("platform %q, canaries %+v; want systrap after kvm failed", info.Platform, info.Canaries)
	}
	t.Logf("%+v", info)
	if left := servants(t); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	cfg = testConfig(t)
	cfg.Platforms, cfg.CanaryTimeout = []string{runsc.KVM}, 5*time.Second
	if e, err := Open(t.Context(), cfg, testLog(t)); err == nil {
		t.Errorf("a single platform that fails must be an error; got %q", e.Info().Platform)
	} else {
		t.Log(err)
	}
	if left := servants(t); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}
