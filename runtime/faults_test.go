package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"

	"sandpool/runtime/hostproc"
	"sandpool/runtime/resource"
	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
	"sandpool/scripts/testhost"
)

// wrapRunsc makes a runsc that runs script, a shell's, before the real one.
func wrapRunsc(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "runsc")
	text := fmt.Sprintf("#!/bin/sh\n%s\nexec %s \"$@\"\n", script, host.Runsc)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A runsc that hangs must cost its deadline and nothing more, whether it waits itself or for a child.
func TestCanaryThatHangs(t *testing.T) {
	cfg := testConfig(t)
	cfg.Runsc = wrapRunsc(t, `case "$*" in *--platform=ptrace*" create "*) exec sleep 1000;; *--platform=kvm*" create "*) sleep 1000;; esac`)
	e := openEngine(t, cfg)
	e.cfg.CanaryTimeout = 3 * time.Second // not before: the platform that works has more
	for _, platform := range []string{runsc.Ptrace, runsc.KVM} {
		if err := e.usable(t.Context(), platform); err == nil || !strings.Contains(err.Error(), "not done within 3s") {
			t.Errorf("%s: %v; want a missed deadline", platform, err)
		}
	}
	var left []string // containerd's commands that tidy up behind a shim end by themselves
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := testhost.Poll(ctx, 20*time.Millisecond, func() bool { left = host.Leftovers(); return len(left) == 0 }); err != nil {
		t.Errorf("left over: %q", left)
	}
	startSandbox(t, e)
}

func TestOpenSaysWhatToDo(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"containerd is down", func(c *Config) { c.Address, c.ConnectTimeout = "/nonexistent.sock", time.Second },
			[]string{"/nonexistent.sock", "start containerd"}},
		{"runsc is missing", func(c *Config) { c.Runsc = "/nonexistent/runsc" }, []string{"/nonexistent/runsc", "install gVisor's runsc or set runsc.path"}},
		{"init is missing", func(c *Config) { c.Init = "/nonexistent/init" }, []string{"/nonexistent/init", "set runsc.init"}},
		{"bad flag", func(c *Config) { c.Settings = map[string]runsc.Setting{"nettwork": {Value: "none", Pos: "f:3"}} }, []string{"f:3", "runsc.flags.nettwork"}},
		{"runsc is known to be bad", func(c *Config) {
			c.Runsc = wrapRunsc(t, `[ "$1" = --version ] && echo "runsc version release-20260302.0" && exit`)
		}, []string{"#12647", "release-20260601.0"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(t)
			test.change(&cfg)
			e, err := Open(t.Context(), cfg, testLog(t))
			if err == nil {
				t.Fatal("no error", e.Close())
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestStateFolderIsForOneEngine(t *testing.T) {
	cfg := testConfig(t)
	e := openEngine(t, cfg)
	if _, err := Open(t.Context(), cfg, testLog(t)); err == nil || !strings.Contains(err.Error(), "another sandpoold") {
		t.Errorf("second open: %v", err)
	}
	if err := e.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTemplatesThatCannotBePrepared(t *testing.T) {
	e := openEngine(t, testConfig(t))
	for image, want := range map[string]string{
		"sandpool.local/missing:1": "images import",
		"file:///nonexistent.tar":  "/nonexistent.tar",
		"file://" + host.Runsc:     "import: ",
	} {
		if err := prepare(t.Context(), e, "bad", template.Template{Image: image}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"bad"`) {
			t.Errorf("image %s: %v; want the template's name and %q", image, err, want)
		}
	}
}

func TestFingerprintFollowsTheTemplate(t *testing.T) {
	e := openEngine(t, testConfig(t))
	first := prepared["default"].Fingerprint()
	again := template.Template{Image: "file://" + host.Image, Env: []string{"FROM=template"}}
	if err := prepare(t.Context(), e, "default", again); err != nil {
		t.Fatal(err)
	}
	if got := prepared["default"].Fingerprint(); got != first || got == "" {
		t.Errorf("the same template has the fingerprints %q and %q", first, got)
	}
	again.Command = []string{"sleep", "1000"}
	if err := prepare(t.Context(), e, "default", again); err != nil {
		t.Fatal(err)
	}
	if prepared["default"].Fingerprint() == first {
		t.Error("another command has the same fingerprint")
	}
}

func TestWatchTellsOfDeaths(t *testing.T) {
	e := openEngine(t, testConfig(t))
	type death struct{ id, reason string }
	deaths := make(chan death, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	type turn struct {
		id string
		to Status
	}
	turns := make(chan turn, 8)
	go func() {
		done <- e.Watch(ctx, func(id string, d Death) { deaths <- death{id, d.Reason} }, func(_ context.Context, id string, to Status) { turns <- turn{id, to} })
	}()

	killed, ended := startSandbox(t, e), startSandbox(t, e)
	if code, _ := run(t, e, ended, "", "true"); code != 0 { // the end of an exec'd process is no death
		t.Errorf("exit code %d", code)
	}
	for to, do := range map[Status]func(context.Context, string) error{Paused: e.Pause, Running: e.Resume} {
		id := map[Status]string{Paused: killed, Running: ended}[to]
		if to == Running {
			if err := e.Pause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			<-turns
		}
		if err := do(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got := <-turns; got != (turn{id, to}) {
			t.Errorf("told of %+v, want %s %s", got, id, to)
		}
		if got, err := e.Status(t.Context(), id); err != nil || got != to || statusOf(t, e, id) != to {
			t.Errorf("%s is %s, %v, and to containerd %s; want %s", id, got, err, statusOf(t, e, id), to)
		}
	}
	if err := hostproc.Kill(t.Context(), killed, hostproc.Sentry); err != nil {
		t.Fatal(err)
	}
	if d := <-deaths; d.id != killed || d.reason == "" {
		t.Errorf("got %+v, want %s", d, killed)
	}
	run(t, e, ended, "", "kill", "-TERM", "1") // the init passes the signal on, to this very process too
	if d := <-deaths; d.id != ended {
		t.Errorf("got %+v, want %s", d, ended)
	}
	for _, id := range []string{killed, ended} {
		if got := statusOf(t, e, id); got != Stopped {
			t.Errorf("%s is %s", id, got)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The sentry of a paused sandbox lives on without its gofer, and containerd goes on calling it paused.
func TestWatchTellsOfKilledGofers(t *testing.T) {
	e := openEngine(t, testConfig(t))
	pausedSandbox := func() string {
		id := startSandbox(t, e)
		if err := e.Pause(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	before, found := pausedSandbox(), pausedSandbox()
	killGofer := func(id string) {
		if err := hostproc.Kill(t.Context(), id, hostproc.Gofer); err != nil {
			t.Fatal(err)
		}
	}
	killGofer(before)
	deaths := make(chan string, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- e.Watch(ctx, func(id string, d Death) { deaths <- id + " " + d.Reason }, func(context.Context, string, Status) {})
	}()
	expectDeath := func(id string) {
		t.Helper()
		if got := <-deaths; !strings.HasPrefix(got, id) || !strings.Contains(got, "gofer") {
			t.Errorf("got %q, want the gofer of %s", got, id)
		}
	}
	expectDeath(before)
	killGofer(found)
	expectDeath(found)
	later := pausedSandbox()
	killGofer(later)
	expectDeath(later)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Each kind of process that serves a sandbox is killed, running and paused; what is left must go.
func TestDestroyAfterAProcessWasKilled(t *testing.T) {
	e := openEngine(t, testConfig(t))
	for _, role := range []hostproc.Role{hostproc.Sentry, hostproc.Gofer, hostproc.Shim} {
		for _, paused := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s paused %v", role, paused), func(t *testing.T) {
				id := startSandbox(t, e)
				if paused {
					if err := e.Pause(t.Context(), id); err != nil {
						t.Fatal(err)
					}
				}
				all, err := hostproc.List()
				if _, found := all.Find(id, role); err != nil || !found {
					t.Fatalf("no such process: %v", err)
				}
				if err := hostproc.Kill(t.Context(), id, role); err != nil {
					t.Fatal(err)
				}
				if err := e.Destroy(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				expectNothing(t, id)
			})
		}
	}
}

func TestDestroyOfAFrozenSandbox(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	e.cfg.KillTimeout = 6 * time.Second // containerd has as long again to tidy up
	all, err := hostproc.List()
	serving := all.Serving(id, hostproc.Working...)
	if err != nil || len(serving) < 3 {
		t.Fatalf("processes %v, %v; want shim, sentry and gofer", serving, err)
	}
	for _, p := range serving {
		if err := testhost.Freeze(t.Context(), p.PID); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	expectNothing(t, id)
}

func TestSweepRemovesWhatNobodyOwns(t *testing.T) {
	e := openEngine(t, testConfig(t))
	ctx := namespaces.WithNamespace(t.Context(), host.Namespace)
	owned, live, orphan := startSandbox(t, e), NewID(), NewID()
	for _, id := range []string{live, orphan} { // all but a container, as between two steps of a destroy
		spec := resource.Spec{ID: id, Parent: prepared["default"].parent, Files: map[string][]byte{shimSuffix: {}}}
		if err := e.owned.Make(ctx, &spec); err != nil {
			t.Fatal(err)
		}
	}
	traced := NewID() // what a runsc leaves that was killed: a copy of the names that the running sandbox has
	used := traces(t, e, owned)
	if len(used) < 4 {
		t.Fatalf("the running sandbox has the traces %q; want cgroups, two files and a socket", used)
	}
	for _, path := range used {
		if err := os.Mkdir(strings.ReplaceAll(path, owned, traced), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Sweep(t.Context(), func(id string) bool { return id == live }); err != nil {
		t.Fatal(err)
	}
	if got := statusOf(t, e, owned); got != Running {
		t.Errorf("a sandbox with a container is %q", got)
	}
	if _, err := os.Stat(e.cfg.sandboxFile(live, shimSuffix)); err != nil { // the snapshot may be gone: containerd removes such ones, too
		t.Errorf("the file of a destroy under way: %v", err)
	}
	expectNothing(t, orphan)
	expectNothing(t, traced)
	if left := traces(t, e, traced); len(left) > 0 {
		t.Errorf("traces are left: %q", left)
	}
	if err := e.Destroy(t.Context(), live); err != nil {
		t.Error(err)
	}
}

// traces returns the cgroups and the files of runsc's that a sandbox has.
func traces(t *testing.T, e *Engine, id string) []string {
	t.Helper()
	groups, err := resource.Cgroups(e.cfg.Namespace, id)
	files, filesErr := filepath.Glob(filepath.Join(string(e.cfg.runscRoot()), "*"+id+"*"))
	if err := errors.Join(err, filesErr); err != nil {
		t.Fatal(err)
	}
	return append(groups, files...)
}
