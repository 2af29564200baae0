package templates

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sandpool/lifetime/wait"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/template"
)

// fakeMaker makes templates ready in memory, each in a second, and notes what it is told.
type fakeMaker struct {
	mu      sync.Mutex
	fail    map[string]error // by image
	began   []time.Time
	busy    int
	busiest int
	told    []string
}

func (m *fakeMaker) Prepare(ctx context.Context, _ string, t template.Template) (*runtime.Prepared, error) {
	m.mu.Lock()
	m.began = append(m.began, time.Now())
	m.busy++
	m.busiest = max(m.busiest, m.busy)
	err := m.fail[t.Image]
	m.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
	return &runtime.Prepared{}, err
}

func (m *fakeMaker) Prepared(template string, _ pool.Source) {
	m.told = append(m.told, template+" ready")
}

func (m *fakeMaker) Unprepared(template string, why error) {
	m.told = append(m.told, template+" "+why.Error())
}

// unprepared is a preparer of templates without snapshots.
func unprepared(m *fakeMaker) *Preparer {
	log := slog.New(slog.DiscardHandler)
	return &Preparer{
		maker: m, pools: m, drop: func(func(checkpoint.Manifest) bool) {}, images: newImageKeeper(func(context.Context, func(string) bool, func(string) bool) error { return nil }, nil, log), failed: func(string, string, error) {}, log: log,
		parallel: 2, loop: wait.NewLoop(), templates: map[string]*preparation{},
	}
}

// current returns what sandboxes of a template are started from, and its snapshot.
func (p *Preparer) current(name string) (*source, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.templates[name]; t != nil && t.inUse != nil {
		return t.inUse, t.inUse.snapshot
	}
	return nil, ""
}

// prepare runs a preparer in a bubble until the test's end.
func prepare(t *testing.T, m *fakeMaker) *Preparer {
	t.Helper()
	p := unprepared(m)
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		loop.Wait()
	})
	return p
}

func ofImage(image string) Wanted { return Wanted{Template: template.Template{Image: image}} }

func TestTemplatesAreMadeReadyAFewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMaker{}
		p := prepare(t, m)
		p.Set(map[string]Wanted{"a": ofImage("1"), "b": ofImage("1"), "c": ofImage("1"), "d": ofImage("1"), "e": ofImage("1")})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if m.busiest != 2 || len(m.told) != 5 || len(m.began) != 5 {
			t.Errorf("at most %d at once, %q after %d attempts; want 2, five ready and 5", m.busiest, m.told, len(m.began))
		}
	})
}

func TestATemplateThatFailsIsTriedAgainLaterAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMaker{fail: map[string]error{"bad": errors.New("resolve: no such host")}}
		p := prepare(t, m)
		p.Set(map[string]Wanted{"good": ofImage("good"), "bad": ofImage("bad")})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(m.began) - 1; n < 10 || n > 20 {
			t.Errorf("%d attempts at the bad one in ten minutes, want pauses that grow to a minute", n)
		}
		if said := strings.Join(m.told, "\n"); strings.Count(said, "good ready") != 1 || !strings.Contains(said, "bad resolve: no such host") {
			t.Errorf("told\n%s", said)
		}
		m.mu.Lock()
		delete(m.fail, "bad")
		m.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if m.told[len(m.told)-1] != "bad ready" {
			t.Errorf("told %q last, want that it is ready", m.told[len(m.told)-1])
		}
	})
}

func TestWhatIsInUseStaysUntilItsSuccessorIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMaker{fail: map[string]error{"2": errors.New("pull: broken")}}
		p := prepare(t, m)
		p.Set(map[string]Wanted{"a": ofImage("1")})
		time.Sleep(time.Minute)
		synctest.Wait()
		first, _ := p.current("a")
		p.Set(map[string]Wanted{"a": ofImage("2")})
		time.Sleep(time.Minute)
		synctest.Wait()
		if now, _ := p.current("a"); first == nil || now != first || p.templates["a"].err == nil {
			t.Errorf("%p is in use after %p, state %+v; want the first and the error of the second", now, first, p.templates["a"])
		}
		began := len(m.began)
		p.Set(map[string]Wanted{"b": ofImage("1")})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if p.templates["a"] != nil || len(m.began) != began+1 {
			t.Errorf("%d attempts after the template was removed, want one at its successor", len(m.began)-began)
		}
	})
}

func TestATemplateWithoutItsSnapshotIsUsedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMaker{}
		p := prepare(t, m)
		var mended atomic.Bool
		p.snapshot = func(_ context.Context, _, _ string, _ *runtime.Prepared, bad string) (string, error) {
			if !mended.Load() {
				return "", errNoSnapshot
			}
			return "ck-" + bad, nil
		}
		warm := ofImage("1")
		warm.Snapshot = true
		p.Set(map[string]Wanted{"a": warm})
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if inUse, got := p.current("a"); inUse == nil || got != "" {
			t.Errorf("in use %v, snapshot %q; want it used without one", inUse, got)
		}
		mended.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		inUse, got := p.current("a")
		if got != "ck-" {
			t.Fatalf("snapshot %q, want the one of the next attempt", got)
		}
		// A few failures say nothing; too many in a row, or one for good, make another.
		for range maxSpoilt - 1 {
			inUse.restored("ck-", context.DeadlineExceeded)
		}
		inUse.restored("ck-", nil)
		inUse.restored("ck-", context.DeadlineExceeded)
		inUse.restored("another", context.DeadlineExceeded)
		if _, got := p.current("a"); got != "ck-" {
			t.Errorf("snapshot %q after failures that were not in a row", got)
		}
		for range maxSpoilt {
			inUse.restored("ck-", context.DeadlineExceeded)
		}
		if _, got := p.current("a"); got != "" {
			t.Errorf("snapshot %q after %d failures", got, maxSpoilt)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, got := p.current("a"); got != "ck-ck-" {
			t.Errorf("snapshot %q, want one made in the knowledge of the bad one", got)
		}
	})
}

// TestSnapshotsAreKeptAsLongAsTheyMayBeUsed covers a daemon that stops before it knows whether a snapshot still fits.
func TestSnapshotsAreKeptAsLongAsTheyMayBeUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMaker{}
		p := unprepared(m)
		p.snapshot = func(context.Context, string, string, *runtime.Prepared, string) (string, error) { return "ck-now", nil }
		warm := ofImage("1")
		warm.Snapshot = true
		p.Set(map[string]Wanted{"a": warm})
		now, old := checkpoint.Manifest{ID: "ck-now", Template: "a"}, checkpoint.Manifest{ID: "ck-old", Template: "a"}
		if !p.keeps(now) || !p.keeps(old) || p.keeps(checkpoint.Manifest{ID: "ck-now", Template: "gone"}) {
			t.Error("before the first attempt: want all of the template's kept, and none of another")
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		p.schedule(ctx, new(sync.WaitGroup))
		synctest.Wait()
		if !p.keeps(now) {
			t.Error("an attempt that a stop broke off cost the template its snapshot")
		}
		runs, end := context.WithCancel(t.Context())
		var loop sync.WaitGroup
		loop.Go(func() { p.Run(runs) })
		defer func() { end(); loop.Wait() }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if !p.keeps(now) || p.keeps(old) {
			t.Errorf("once it is ready: kept %t and %t, want the one in use alone", p.keeps(now), p.keeps(old))
		}
	})
}
