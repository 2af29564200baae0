package daemon

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/pool"
	"sandpool/runtime"
)

// fakeSandboxes is a containerd that can go away. Every call and its outcome is written to journal.
type fakeSandboxes struct {
	mu      sync.Mutex
	away    bool
	hangs   bool          // it answers nothing, and ends no stream
	broken  chan struct{} // closed when it goes away
	journal []string
}

func (f *fakeSandboxes) note(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		what += " failed"
	}
	f.journal = append(f.journal, what)
	if f.away {
		return errdefs.ErrUnavailable
	}
	return nil
}

func (f *fakeSandboxes) set(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
	if away {
		close(f.broken)
	} else {
		f.broken = make(chan struct{})
	}
}

func (f *fakeSandboxes) List(context.Context) ([]runtime.Listed, error) {
	return []runtime.Listed{{ID: "sb-1", Labels: map[string]string{"a": "b"}, Status: runtime.Paused}}, f.note("list")
}

func (f *fakeSandboxes) Watch(ctx context.Context, died func(id string, d runtime.Death), turned func(context.Context, string, runtime.Status)) error {
	if err := f.note("watch"); err != nil {
		return err
	}
	died("sb-2", runtime.Death{Cause: runtime.CauseSignal, Reason: "killed"})
	turned(ctx, "sb-3", runtime.Paused)
	f.mu.Lock()
	broken := f.broken
	f.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil
	case <-broken:
		return errors.New("stream broke")
	}
}

func (f *fakeSandboxes) Ping(context.Context) error {
	f.mu.Lock()
	hangs := f.hangs
	f.mu.Unlock()
	if hangs {
		time.Sleep(10 * time.Second) // in virtual time
		return context.DeadlineExceeded
	}
	return f.note("ping")
}

func (f *fakeSandboxes) Sweep(context.Context, func(string) bool) error { return f.note("sweep") }

// fakePools writes what it is told to the sandboxes' journal.
type fakePools struct {
	sandboxes *fakeSandboxes
	found     []pool.Found
	outage    error
}

func (f *fakePools) Reconcile(ctx context.Context, list func(context.Context) ([]pool.Found, error)) (pool.Report, error) {
	found, err := list(ctx)
	f.found = found
	return pool.Report{Warm: len(found)}, err
}

func (f *fakePools) Died(id, _ string) bool {
	f.log("died " + id)
	return true
}

func (f *fakePools) Look(_ context.Context, id string, seen pool.Status) {
	f.log("look " + id + " " + string(seen))
}

func (f *fakePools) SetOutage(err error) (before error) {
	before, f.outage = f.outage, err
	if err != nil {
		f.log("outage")
	} else {
		f.log("no outage")
	}
	return before
}

func (f *fakePools) Knows(string) bool { return true }

func (f *fakePools) log(what string) {
	f.sandboxes.mu.Lock()
	defer f.sandboxes.mu.Unlock()
	f.sandboxes.journal = append(f.sandboxes.journal, what)
}

// startWatcher runs a watcher until the returned function is called.
func startWatcher(t *testing.T) (*fakeSandboxes, *fakePools, func()) {
	s := &fakeSandboxes{broken: make(chan struct{})}
	p := &fakePools{sandboxes: s}
	w := &watcher{sandboxes: s, pools: p, address: "/c.sock", reconciled: func(string, error) {}, counted: func(cause string) { p.log("counted " + cause) }, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx) })
	return s, p, func() {
		cancel()
		running.Wait()
	}
}

func TestWatcherAdoptsAndSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, stop := startWatcher(t)
		defer stop()
		time.Sleep(sweepEvery + time.Second)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		counts := map[string]int{}
		for _, what := range s.journal {
			counts[what]++
		}
		if want := map[string]int{"watch": 1, "died sb-2": 1, "counted signal": 1, "look sb-3 paused": 1, "list": 2, "no outage": 1, "sweep": 1, "ping": int(sweepEvery / pingEvery)}; !reflect.DeepEqual(counts, want) {
			t.Errorf("journal has %v, want %v", counts, want)
		}
		if want := []pool.Found{{ID: "sb-1", Labels: map[string]string{"a": "b"}, Status: pool.Paused}}; !reflect.DeepEqual(p.found, want) {
			t.Errorf("pools were told of %v, want %v", p.found, want)
		}
	})
}

func TestWatcherOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, stop := startWatcher(t)
		defer stop()
		synctest.Wait()
		if p.outage != nil {
			t.Fatalf("outage at the start: %v", p.outage)
		}

		s.set(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !errdefs.IsUnavailable(p.outage) {
			t.Errorf("pools were told %v; want an outage", p.outage)
		}

		s.mu.Lock()
		s.journal = nil
		s.mu.Unlock()
		s.set(false)
		time.Sleep(pings.Last)
		synctest.Wait()
		if p.outage != nil {
			t.Errorf("pools were told %v; want no outage", p.outage)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		answered, listed, over := slices.Index(s.journal, "ping"), slices.Index(s.journal, "list"), slices.Index(s.journal, "no outage")
		if answered < 0 || listed < answered || over < listed || !slices.Contains(s.journal, "watch") {
			t.Errorf("journal of the recovery: %q", s.journal)
		}
	})
}

// TestWatcherNoticesAHang shows that a containerd which answers nothing is away, though its stream of events goes on.
func TestWatcherNoticesAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, stop := startWatcher(t)
		defer stop()
		for _, hangs := range []bool{true, false} {
			s.mu.Lock()
			s.hangs = hangs
			s.mu.Unlock()
			time.Sleep(time.Minute)
			synctest.Wait()
			if errdefs.IsUnavailable(p.outage) != hangs {
				t.Errorf("hangs: %t, and the outage is %v", hangs, p.outage)
			}
		}
	})
}

// TestWatcherBacksOff shows that a containerd that is away for long is not asked without end.
func TestWatcherBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, stop := startWatcher(t)
		defer stop()
		synctest.Wait()
		s.set(true)
		time.Sleep(10 * time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.journal); n < 60 || n > 150 {
			t.Errorf("%d calls in ten minutes, want about one in five seconds", n)
		}
	})
}
