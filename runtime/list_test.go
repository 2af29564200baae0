package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"sandpool/lifetime/wait"
	"sandpool/runtime/hostproc"
)

// meter counts an engine's calls of containerd.
type meter struct {
	mu    sync.Mutex
	calls map[string]int
}

func (m *meter) count(method string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[method[strings.LastIndexByte(method[:strings.LastIndexByte(method, '/')], '.')+1:]]++
}

// taken returns the counts and begins anew.
func (m *meter) taken() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.calls
	m.calls = map[string]int{}
	return taken
}

// runscFile is one of runsc's files of a sandbox.
func runscFile(e *Engine, id, suffix string) string {
	return filepath.Join(string(e.cfg.runscRoot()), id+"_sandbox:"+id+suffix)
}

// measure has an engine's calls of containerd counted from now on.
func measure(t *testing.T, e *Engine) *meter {
	t.Helper()
	m := &meter{calls: map[string]int{}}
	counted, err := client.New(e.cfg.Address, client.WithDefaultNamespace(e.cfg.Namespace), client.WithExtraDialOpts([]grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			m.count(method)
			return next(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			m.count(method)
			return next(ctx, desc, cc, method, opts...)
		}),
	}))
	if err != nil {
		t.Fatal(err)
	}
	_ = e.client.Close()
	e.use(counted)
	return m
}

// TestListingsAskNobodyWithoutNeed counts what a listing and a sweep cost of sandboxes that show no change.
func TestListingsAskNobodyWithoutNeed(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	cfg := testConfig(t)
	cfg.Runsc = wrapRunsc(t, fmt.Sprintf(`echo "$*" >>%s`, started))
	e := openEngine(t, cfg)
	var ids []string
	for range 3 {
		ids = append(ids, startSandbox(t, e))
	}
	ended := startSandbox(t, e)
	if err := errors.Join(e.Pause(t.Context(), ids[0]), e.Halt(t.Context(), ended)); err != nil {
		t.Fatal(err)
	}
	want := map[string]Status{ids[0]: Paused, ids[1]: Running, ids[2]: Running, ended: Stopped}
	m := measure(t, e)
	if err := e.owned.LearnBundles(ids[1]); err != nil {
		t.Fatal(err)
	}
	list := func(when string, mostAsked int) {
		t.Helper()
		_ = os.Remove(started)
		got := map[string]Status{}
		listed, err := e.List(t.Context())
		for _, l := range listed {
			got[l.ID] = l.Status
		}
		if err = errors.Join(err, e.Sweep(t.Context(), func(id string) bool { return want[id] != "" })); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: listed %v, %v; want %v", when, got, err, want)
		}
		calls := m.taken()
		asked := calls["Tasks/Get"]
		lists := calls["Containers/List"] + calls["Containers/ListStream"]
		delete(calls, "Tasks/Get")
		for _, once := range []string{"Containers/List", "Containers/ListStream", "Snapshots/List", "Leases/List"} {
			delete(calls, once)
		}
		if lists != 1 || asked != mostAsked || len(calls) > 0 {
			t.Errorf("%s: %d listings, %d questions about tasks, others %v; want 1, %d and none", when, lists, asked, calls, mostAsked)
		}
		if data, err := os.ReadFile(started); mostAsked == 0 && !os.IsNotExist(err) {
			t.Errorf("%s: runsc was started: %s, %v", when, data, err)
		}
	}
	list("the first time", 1) // about the one that has ended
	list("without a change", 0)
	for id, l := range e.looks.of {
		if id != ids[2] {
			l.asked = l.asked.Add(-askEvery)
			e.looks.of[id] = l
		}
	}
	list("when three are due", 3)
	list("when they were", 0)
}

// TestListingsNoticeChanges changes sandboxes as others than the engine do, and kills what keeps them.
func TestListingsNoticeChanges(t *testing.T) {
	e := openEngine(t, testConfig(t))
	m := measure(t, e)
	byRunsc := func(id string, args ...string) error {
		command := exec.CommandContext(t.Context(), host.Runsc, append([]string{"--root", string(e.cfg.runscRoot())}, append(args, id)...)...)
		out, err := command.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	byCtr := func(args ...string) error { return host.Command(t.Context(), args...).Run() }
	kill := func(role hostproc.Role) func(string) error {
		return func(id string) error { return hostproc.Kill(t.Context(), id, role) }
	}
	none := Status("") // not listed at all
	for _, test := range []struct {
		name   string
		change func(id string) error
		want   Status
		asks   bool // containerd is asked, since nothing else tells
	}{
		{"runsc pauses", func(id string) error { return byRunsc(id, "pause") }, Paused, false},
		{"runsc resumes", func(id string) error { return byRunsc(id, "resume") }, Running, false},
		{"ctr pauses", func(id string) error { return byCtr("tasks", "pause", id) }, Paused, false},
		{"ctr resumes", func(id string) error { return byCtr("tasks", "resume", id) }, Running, false},
		{"the notes are half written", func(id string) error { return os.Truncate(runscFile(e, id, ".state"), 100) }, Stopped, true},
		{"the sentry is killed", kill(hostproc.Sentry), Stopped, true},
		{"the shim is killed", kill(hostproc.Shim), Stopped, true},
		{"the notes are removed", func(id string) error { return os.Remove(runscFile(e, id, ".state")) }, Stopped, true},
		{"runsc deletes", func(id string) error {
			_ = byRunsc(id, "delete", "--force") // the shim tidies up at the same time, so it may fail
			return nil
		}, Stopped, true},
		{"ctr deletes the task", func(id string) error { return byCtr("tasks", "delete", "--force", id) }, Stopped, true},
		{"ctr deletes the container", func(id string) error {
			return errors.Join(byCtr("tasks", "delete", "--force", id), byCtr("containers", "delete", id))
		}, none, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := startSandbox(t, e)
			if strings.HasSuffix(test.name, "resumes") {
				if err := e.Pause(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			before := statusOf(t, e, id)
			m.taken()
			waiting, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := test.change(id); err != nil {
				t.Fatal(err)
			}
			for after := before; after != test.want; after = statusOf(t, e, id) { // which is at least one more listing
				if err := wait.Sleep(waiting, wait.Interval); err != nil {
					t.Fatalf("it is %q, want %q", after, test.want)
				}
			}
			if asked := m.taken()["Tasks/Get"]; asked > 0 != test.asks {
				t.Errorf("containerd was asked %d times", asked)
			}
		})
	}
}

// TestListingsPassALockedSandbox has a runsc hang as it changes a sandbox: that keeps nobody from seeing what became of others.
func TestListingsPassALockedSandbox(t *testing.T) {
	e := openEngine(t, testConfig(t))
	locked, other := startSandbox(t, e), startSandbox(t, e)
	if statusOf(t, e, locked) != Running {
		t.Fatal("it does not run")
	}
	lock, err := os.Open(runscFile(e, locked, ".lock"))
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	now := time.Now()
	if err := errors.Join(os.Chtimes(runscFile(e, locked, ".state"), now, now), e.Pause(t.Context(), other)); err != nil {
		t.Fatal(err)
	}
	if a, b := statusOf(t, e, locked), statusOf(t, e, other); a != Running || b != Paused {
		t.Errorf("the locked one is %q, the other %q", a, b)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTurnsToBeAsked(t *testing.T) {
	now := time.Now()
	before := map[string]look{}
	var found []containers.Container
	for i := range 3 * askAtOnce {
		id := NewID()
		found = append(found, containers.Container{ID: id})
		before[id] = look{asked: now.Add(-time.Duration(i) * time.Second)}
	}
	found = append(found, containers.Container{ID: NewID()}) // one that was never looked at is not due
	if n := len(due(before, found, now.Add(askEvery-2*time.Second))); n != askAtOnce {
		t.Errorf("%d are due, want %d", n, askAtOnce)
	}
	long := due(before, found, now.Add(2*askEvery))
	for _, c := range found[2*askAtOnce : 3*askAtOnce] { // they have waited longest
		if !long[c.ID] {
			t.Errorf("%s, asked %v ago, is not due: %v", c.ID, now.Sub(before[c.ID].asked), long)
		}
	}
	if early := due(before, found, now); len(early) > 0 {
		t.Errorf("%v are due before their time", early)
	}
}
