package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sandpool/lifetime/wait"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/template"
)

// prepares are the pauses between attempts at a template that fail.
var prepares = wait.Backoff{First: time.Second, Last: time.Minute}

// errNoSnapshot is why a template has no snapshot though its sandboxes start.
var errNoSnapshot = errors.New("no snapshot of the template could be made")

// maker is what the preparer needs of the runtime.
type maker interface {
	Prepare(ctx context.Context, name string, t template.Template) (*runtime.Prepared, error)
}

// filler is what the preparer tells of its templates.
type filler interface {
	Prepared(template, fingerprint string)
	Unprepared(template string, why error)
}

var (
	_ maker  = (*runtime.Engine)(nil)
	_ filler = (*pool.Controller)(nil)
)

// wanted is a template as it is configured.
type wanted struct {
	template.Template
	snapshot bool // sandboxes go on from one that was started before, rather than being started
}

// preparer makes templates ready, as often as it takes. One that was ready before is used until its successor is.
type preparer struct {
	maker maker
	pools filler
	// snapshot returns the checkpoint that sandboxes of a template go on from, but not bad, made anew if there is none that fits.
	snapshot func(ctx context.Context, name string, p *runtime.Prepared, bad string) (string, error)
	tidy     func() // deletes the snapshots that keeps does not want
	failed   failedFunc
	log      *slog.Logger

	wake   chan struct{} // one slot: the loop has something to look at
	rounds atomic.Uint64 // of the loop

	mu        sync.Mutex
	parallel  int // the most templates that are made ready at once
	templates map[string]*preparation
}

// preparation is one template and how far it is.
type preparation struct {
	want     wanted
	due      bool // want, or what it is made from, may have changed since the last attempt
	busy     bool
	failures int // in a row
	retryAt  time.Time
	err      error // of the last attempt

	inUse    *runtime.Prepared
	snapshot string // the checkpoint that sandboxes of inUse go on from; empty: they are started
	spoilt   int    // restores from it that failed in a row
	bad      string // the last snapshot that could not be used
}

func newPreparer(m maker, parallel int, failed failedFunc, log *slog.Logger) *preparer {
	return &preparer{maker: m, parallel: parallel, failed: failed, log: log, wake: make(chan struct{}, 1), templates: map[string]*preparation{}}
}

// limit changes how many templates are made ready at once, from the next one on.
func (p *preparer) limit(parallel int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parallel = parallel
}

// set replaces what is configured. All of it is made ready, also what was before: what its image's name stands for may have
// changed.
func (p *preparer) set(templates map[string]wanted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.templates, func(name string, _ *preparation) bool {
		_, stays := templates[name]
		return !stays
	})
	for name, want := range templates {
		t := p.templates[name]
		if t == nil {
			t = &preparation{}
			p.templates[name] = t
		}
		t.want, t.due, t.failures, t.retryAt = want, true, 0, time.Time{}
	}
	p.poke()
}

// turns counts the rounds of the loop and has it go another.
func (p *preparer) turns() uint64 {
	p.poke()
	return p.rounds.Load()
}

func (p *preparer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run makes ready what is due until ctx ends.
func (p *preparer) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		timer := time.NewTimer(p.schedule(ctx, &workers))
		p.rounds.Add(1)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-p.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// schedule sets workers to what is due, in the order of the names, and returns how long until something else may be.
func (p *preparer) schedule(ctx context.Context, workers *sync.WaitGroup) time.Duration {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	busy, next := 0, time.Hour
	for _, t := range p.templates {
		if t.busy {
			busy++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.templates)) {
		t := p.templates[name]
		switch {
		case !t.due || t.busy:
		case t.retryAt.After(now):
			next = min(next, t.retryAt.Sub(now))
		case busy < p.parallel:
			busy++
			t.busy, t.due = true, false
			want, bad := t.want, t.bad
			workers.Go(func() { p.work(ctx, name, t, want, bad) })
		}
	}
	return next
}

// work makes one attempt at a template.
func (p *preparer) work(ctx context.Context, name string, t *preparation, want wanted, bad string) {
	defer p.poke()
	defer p.tidy()
	ready, err := p.maker.Prepare(ctx, name, want.Template)
	saved := ""
	if err == nil && want.snapshot {
		saved, err = p.snapshot(ctx, name, ready, bad)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.busy = false
	if context.Cause(ctx) != nil || p.templates[name] != t {
		t.due = true // the daemon stops, and the template keeps its snapshot; or it was removed
		return
	}
	t.err = err
	if err != nil {
		t.failures++
		p.failed(name, stepSnapshot, err)
		t.due, t.retryAt = true, time.Now().Add(prepares.After(t.failures))
		p.log.Warn("template is not ready; it is tried again", "template", name, "failures", t.failures, "err", err)
	} else {
		t.failures = 0
	}
	if err != nil && !errors.Is(err, errNoSnapshot) {
		p.pools.Unprepared(name, err)
		return
	}
	t.inUse, t.snapshot, t.spoilt = ready, saved, 0
	p.pools.Prepared(name, ready.Fingerprint())
	p.log.Info("template is ready", "template", name, "fingerprint", ready.Fingerprint(), "snapshot", saved)
}

// fingerprint is that of what sandboxes of a template are started from now; empty if it was never ready.
func (p *preparer) fingerprint(name string) string {
	if inUse, _ := p.current(name); inUse != nil {
		return inUse.Fingerprint()
	}
	return ""
}

// knows tells whether a template is configured.
func (p *preparer) knows(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.templates[name] != nil
}

// uses tells whether sandboxes are started from an image.
func (p *preparer) uses(digest string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.templates {
		if t.inUse != nil && t.inUse.Digest() == digest {
			return true
		}
	}
	return false
}

// current returns what sandboxes of a template are started from now, nil if it was never ready, and the checkpoint that they
// go on from instead, if there is one.
func (p *preparer) current(name string) (inUse *runtime.Prepared, snapshot string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.templates[name]; t != nil {
		return t.inUse, t.snapshot
	}
	return nil, ""
}
