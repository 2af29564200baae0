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

func (f *fakeSandboxes) Watch(ctx context.Context, died func(id string, d runtime.Death)) error {
	if err := f.note("watch"); err != nil {
		return err
	}
	died("sb-2", runtime.Death{Cause: runtime.CauseSignal, Reason: "killed"})
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

func (f *fakeSandboxes) Ping(context.Context) error { return f.note("ping") }

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

func (f *fakePools) SetOutage(err error) {
	f.outage = err
	if err != nil {
		f.log("outage")
	} else {
		f.log("no outage")
	}
}

func (f *fakePools) Knows(string) bool { return true }

func (f *fakePools) log(what string) {
	f.sandboxes.mu.Lock()
	defer f.sandboxes.mu.Unlock()
	f.sandboxes.journal = append(f.sandboxes.journal, what)
}

// startWatcher runs a watcher until the returned function is called.
func startWatcher(t *testing.T) (*watcher, *fakeSandboxes, *fakePools, func()) {
	s := &fakeSandboxes{broken: make(chan struct{})}
	p := &fakePools{sandboxes: s}
	w := &watcher{sandboxes: s, pools: p, address: "/c.sock", reconciled: func(string, error) {}, counted: func(cause string) { p.log("counted " + cause) }, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx) })
	return w, s, p, func() {
		cancel()
		running.Wait()
	}
}

func TestWatcherAdoptsAndSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, p, stop := startWatcher(t)
		defer stop()
		time.Sleep(sweepEvery + time.Second)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		counts := map[string]int{}
		for _, what := range s.journal {
			counts[what]++
		}
		if want := map[string]int{"watch": 1, "died sb-2": 1, "counted signal": 1, "list": 2, "no outage": 1, "sweep": 1}; !reflect.DeepEqual(counts, want) {
			t.Errorf("journal has %v, want %v", counts, want)
		}
		if want := []pool.Found{{ID: "sb-1", Labels: map[string]string{"a": "b"}, Status: pool.Paused}}; !reflect.DeepEqual(p.found, want) {
			t.Errorf("pools were told of %v, want %v", p.found, want)
		}
	})
}

func TestWatcherOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, p, stop := startWatcher(t)
		defer stop()
		synctest.Wait()
		if err := w.status(); err != nil {
			t.Fatalf("outage at the start: %v", err)
		}

		s.set(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := w.status(); !errdefs.IsUnavailable(err) || !errors.Is(p.outage, err) {
			t.Errorf("status %v, pools were told %v; want the same outage", err, p.outage)
		}

		s.mu.Lock()
		s.journal = nil
		s.mu.Unlock()
		s.set(false)
		time.Sleep(lastPing)
		synctest.Wait()
		if err := w.status(); err != nil || p.outage != nil {
			t.Errorf("status %v, pools were told %v; want none", err, p.outage)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		answered, listed, over := slices.Index(s.journal, "ping"), slices.Index(s.journal, "list"), slices.Index(s.journal, "no outage")
		if answered < 0 || listed < answered || over < listed || !slices.Contains(s.journal, "watch") {
			t.Errorf("journal of the recovery: %q", s.journal)
		}
	})
}

// TestWatcherBacksOff shows that a containerd that is away for long is not asked without end.
func TestWatcherBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, _, stop := startWatcher(t)
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
