package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime"
)

// fakeBackend keeps sandboxes in memory and checks that they are used as a real one must be: it fails the test when a
// sandbox is resumed while it runs, paused twice, used after its end, or handed out before its claim is labelled.
type fakeBackend struct {
	t *testing.T

	startTime, pauseTime, labelTime, destroyTime time.Duration

	mu        sync.Mutex
	sandboxes map[string]*fakeSandbox
	destroyed int
	snapshot  bool              // templates have one
	hang      func(from Origin) // called in each start, if set
	// fail is asked before every call; an error it returns is the call's.
	fail func(call, id string) error
}

type fakeSandbox struct {
	env    []string
	labels map[string]string
	status Status
	from   string // checkpoint

	promised bool
}

func newFakeBackend(t *testing.T) *fakeBackend {
	return &fakeBackend{
		t: t, startTime: 250 * time.Millisecond, pauseTime: 18 * time.Millisecond,
		labelTime: 2 * time.Millisecond, destroyTime: 140 * time.Millisecond,
		sandboxes: map[string]*fakeSandbox{},
	}
}

func (f *fakeBackend) step(ctx context.Context, call, id string, took time.Duration, do func(*fakeSandbox) error) error {
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		if err := f.fail(call, id); err != nil {
			return err
		}
	}
	s := f.sandboxes[id]
	if s == nil && call != "start" && call != "destroy" {
		return fmt.Errorf("%s %s: %w", call, id, errdefs.ErrNotFound)
	}
	return do(s)
}

func (f *fakeBackend) Start(ctx context.Context, id string, from Origin, labels map[string]string) (Started, error) {
	f.mu.Lock()
	if f.sandboxes[id] != nil {
		f.t.Errorf("start %s: it exists", id)
	}
	f.sandboxes[id] = &fakeSandbox{labels: labels, status: Stopped, from: from.Checkpoint}
	f.mu.Unlock()
	if f.hang != nil {
		f.hang(from)
	}
	return Started{Phases: Phases{Sentry: f.startTime}, Restored: f.snapshot && !from.Cold && from.Checkpoint == ""}, f.step(ctx, "start", id, f.startTime, func(s *fakeSandbox) error {
		if s == nil {
			f.t.Errorf("start %s: destroyed meanwhile", id)
			return errors.New("destroyed meanwhile")
		}
		s.status = Running
		return nil
	})
}

func (f *fakeBackend) Pause(ctx context.Context, id string) error {
	return f.step(ctx, "pause", id, f.pauseTime, func(s *fakeSandbox) error {
		if s.status == Stopped {
			return errBroken
		}
		if s.status != Running {
			f.t.Errorf("pause %s: it is %s", id, s.status)
		}
		s.status = Paused
		return nil
	})
}

func (f *fakeBackend) Resume(ctx context.Context, id string) error {
	return f.step(ctx, "resume", id, f.pauseTime, func(s *fakeSandbox) error {
		if s.status == Stopped {
			return errBroken
		}
		if s.status != Paused {
			f.t.Errorf("resume %s: it is %s", id, s.status)
		}
		if state := State(s.labels[LabelState]); state != Claimed && state != Hot {
			f.t.Errorf("resume %s: labelled %q", id, s.labels[LabelState])
		}
		s.status = Running
		return nil
	})
}

func (f *fakeBackend) Label(ctx context.Context, id string, labels map[string]string) error {
	if len(labels) == 0 {
		f.t.Error("label: nothing is to be written")
	}
	return f.step(ctx, "label", id, f.labelTime, func(s *fakeSandbox) error {
		maps.Copy(s.labels, labels)
		return nil
	})
}

// Give is answered by a sandbox that runs.
func (f *fakeBackend) Give(ctx context.Context, id string, env []string, _ bool) error {
	for runs, began := false, time.Now(); ; {
		err := f.step(ctx, "give", id, time.Millisecond, func(s *fakeSandbox) error {
			if runs = s.status == Running; runs {
				s.env = env
			}
			return nil
		})
		if runs || err != nil {
			return err
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("give %s: it does not run", id)
		}
	}
}

func (f *fakeBackend) Destroy(ctx context.Context, id string) error {
	return f.step(ctx, "destroy", id, f.destroyTime, func(*fakeSandbox) error {
		delete(f.sandboxes, id)
		f.destroyed++
		return nil
	})
}

func (f *fakeBackend) Halt(ctx context.Context, id string) error {
	return f.step(ctx, "halt", id, f.destroyTime, func(s *fakeSandbox) error {
		if s.labels[LabelRest] != string(Suspended) || s.labels[LabelSaved] == "" {
			f.t.Errorf("halt %s: labelled %q, saved as %q", id, s.labels[LabelRest], s.labels[LabelSaved])
		}
		s.status = Stopped
		return nil
	})
}

func (f *fakeBackend) Revive(ctx context.Context, id, checkpoint string) error {
	return f.step(ctx, "revive", id, f.startTime, func(s *fakeSandbox) error {
		if s.status != Stopped || checkpoint != s.labels[LabelSaved] {
			f.t.Errorf("revive %s from %q: it is %s, saved as %q", id, checkpoint, s.status, s.labels[LabelSaved])
		}
		s.status = Running
		return nil
	})
}

func (f *fakeBackend) Status(_ context.Context, id string) (Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		if err := f.fail("status", id); err != nil {
			return "", err
		}
	}
	if s := f.sandboxes[id]; s != nil {
		return s.status, nil
	}
	return Stopped, nil
}

func (f *fakeBackend) Promise(id string) error { return f.promise(id, true) }
func (f *fakeBackend) Fulfil(id string) error  { return f.promise(id, false) }

func (f *fakeBackend) promise(id string, promised bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		if err := f.fail(map[bool]string{true: "promise", false: "fulfil"}[promised], id); err != nil {
			return err
		}
	}
	if s := f.sandboxes[id]; s != nil {
		s.promised = promised
	}
	return nil
}

func (f *fakeBackend) list(context.Context) ([]Found, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []Found
	for id, s := range f.sandboxes {
		found = append(found, Found{ID: id, Labels: maps.Clone(s.labels), Status: s.status, Promised: s.promised})
	}
	return found, nil
}

// locked runs do while no call is under way in the backend.
func (f *fakeBackend) locked(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// ids returns which sandboxes exist.
func (f *fakeBackend) ids() map[string]bool {
	ids := map[string]bool{}
	for id := range f.labels() {
		ids[id] = true
	}
	return ids
}

// labels returns the labels of each sandbox.
func (f *fakeBackend) labels() map[string]map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]map[string]string{}
	for id, s := range f.sandboxes {
		all[id] = maps.Clone(s.labels)
	}
	return all
}

// end makes a sandbox's processes end by themselves.
func (f *fakeBackend) end(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sandboxes[id]; s != nil {
		s.status = Stopped
	}
}

// fakeDeadlines remembers the claims that have one.
type fakeDeadlines struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (d *fakeDeadlines) Set(claim, _ string, lease lifetime.Lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at[claim] = lease.ExpiresAt
}

func (d *fakeDeadlines) Remove(claim string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.at, claim)
}

// rig is a controller on a fake backend.
type rig struct {
	*Controller
	backend   *fakeBackend
	deadlines *fakeDeadlines
	blocked   string // why nothing is admitted
	events    []Event
	stop      func() // ends Run and waits for it
}

// newRig makes a controller of pools "local:<template>", reconciled but not running.
func newRig(t *testing.T, backend *fakeBackend, pools ...Config) *rig {
	t.Helper()
	r := &rig{backend: backend, deadlines: &fakeDeadlines{at: map[string]time.Time{}}}
	ids := 0
	r.Controller = New(Options{
		Pools: pools, Backend: backend, Deadlines: r.deadlines, Starts: 2, Starting: r.untraced,
		Admit: func() string {
			backend.mu.Lock()
			defer backend.mu.Unlock()
			return r.blocked
		},
		NewID:   func() string { ids++; return fmt.Sprintf("sb-%d-%d", time.Now().UnixNano(), ids) },
		Step:    func(string) {},
		Tell:    func(e Event) { r.events = append(r.events, e) }, // under the controller's mutex
		Started: func(string, Started) {},
		Log:     slog.New(slog.DiscardHandler),
	})
	if _, err := r.Reconcile(t.Context(), backend.list); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) untraced(ctx context.Context, _ string, _ Origin) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// run starts the loop; the test's end stops it unless r.stop did.
func (r *rig) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { r.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		loop.Wait()
	})
	t.Cleanup(r.stop)
}

func onePool(target, most int) Config {
	return Config{
		Name: "local:default", Template: "default", Source: build{fingerprint: "f1"}, Recycle: RecycleDestroy,
		Size: Size{Min: target, Target: target, Max: most, ScaleUp: 70, ScaleDown: 30},
	}
}

// build is a source that the fake backend starts nothing from: it has sandboxes as it likes.
type build struct {
	Source
	fingerprint, onClaim, network string
}

func (b build) Fingerprint() string { return b.fingerprint }

func (b build) Network() string { return b.network }

func (b build) OnClaim() string { return b.onClaim }

// hour is a lifetime type whose claims are neither warned nor given a grace.
var hour = lifetime.Type{Lifetime: time.Hour}

// claimOne claims as request does, which must succeed.
func (r *rig) claimOne(t *testing.T) Claim {
	t.Helper()
	claim, _, err := r.Claim(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func request() Request {
	return Request{Template: "default", Owner: "uid:0", Wait: time.Minute, Kind: "test", Lifetime: hour}
}
