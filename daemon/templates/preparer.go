// Package templates makes templates ready, with their images and snapshots, and says what sandboxes are started from.
package templates

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"sandpool/lifetime/wait"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
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

// Engine is what templates need of the runtime.
type Engine interface {
	maker
	starter
}

// configurer is what the preparer tells of its templates.
type configurer interface {
	Prepared(template string, from pool.Source)
	Unprepared(template string, why error)
}

// Pools is what templates need of the pools; see pool.Controller for what its methods promise.
type Pools interface {
	configurer
	trialRunner
}

var (
	_ Engine = (*runtime.Engine)(nil)
	_ Pools  = (*pool.Controller)(nil)
)

// Options are what a Preparer is made of. All fields are required.
type Options struct {
	Engine Engine
	// PruneImages deletes the images that are not in use; see image.Store.
	PruneImages func(ctx context.Context, isTemplate, inUse func(string) bool) error
	Store       *checkpoint.Store
	Pools       Pools
	Restore     Restore
	Region      string
	Parallel    int // the most templates that are made ready at once
	// Failed is told at what step a template or a sandbox of it failed; otherwise is the step when the error knows none.
	Failed func(template, otherwise string, err error)
	Log    *slog.Logger
}

// Restore starts a sandbox that goes on from a checkpoint.
type Restore func(ctx context.Context, id, checkpoint string, labels map[string]string) (runtime.Phases, error)

// The step that only this package knows; see runtime.StepError for the others.
const stepSnapshot = "snapshot" // of a template is made

// Wanted is a template as it is configured.
type Wanted struct {
	template.Template
	Snapshot bool   // sandboxes go on from one that was started before, rather than being started
	OnClaim  string // see pool.Source
	Rules    string // what its sandboxes may connect to; see pool.Source.Network
}

// Preparer makes templates ready, as often as it takes. One that was ready before is used until its successor is.
type Preparer struct {
	maker maker
	pools configurer
	start starter
	// restore starts a sandbox from a template's snapshot.
	restore Restore
	// snapshot returns the checkpoint that sandboxes of a template go on from, but not bad, made anew if there is none that fits.
	snapshot func(ctx context.Context, name, rules string, p *runtime.Prepared, bad string) (string, error)
	drop     func(keep func(checkpoint.Manifest) bool) // deletes the snapshots that keep does not want
	images   *imageKeeper
	failed   func(template, otherwise string, err error)
	log      *slog.Logger

	loop *wait.Loop

	mu        sync.Mutex
	parallel  int // the most templates that are made ready at once
	templates map[string]*preparation
}

// preparation is one template and how far it is.
type preparation struct {
	want     Wanted
	due      bool // want, or what it is made from, may have changed since the last attempt
	busy     bool
	failures int // in a row
	retryAt  time.Time
	err      error // of the last attempt

	inUse *source
	bad   string // the last snapshot that could not be used
}

// New makes a Preparer that knows no templates. Set tells it of them.
func New(o Options) *Preparer {
	saved := &snapshots{store: o.Store, pools: o.Pools, engine: o.Engine, region: o.Region, log: o.Log}
	images := newImageKeeper(o.PruneImages, o.Store.List, o.Log)
	return &Preparer{
		maker: o.Engine, pools: o.Pools, start: o.Engine, restore: o.Restore, snapshot: saved.of, drop: saved.drop, images: images,
		failed: o.Failed, log: o.Log, parallel: o.Parallel, loop: wait.NewLoop(), templates: map[string]*preparation{},
	}
}

// Run makes ready what is due, and lets unused images go, until ctx ends.
func (p *Preparer) Run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	workers.Go(func() { p.images.run(ctx, p.knows, p.uses) })
	p.loop.Run(ctx, func() time.Duration { return p.schedule(ctx, &workers) })
}

// Tidy deletes the snapshots that nothing goes on from any more, and has unused images deleted.
func (p *Preparer) Tidy() {
	p.drop(p.keeps)
	p.images.loop.Wake()
}

// Limit changes how many templates are made ready at once, from the next one on.
func (p *Preparer) Limit(parallel int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parallel = parallel
}

// Set replaces what is configured. All of it is made ready, also what was before: what its image's name stands for may have
// changed.
func (p *Preparer) Set(templates map[string]Wanted) {
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
	p.loop.Wake()
}

// Turns counts the rounds of the loop; see wait.Loop.Rounds.
func (p *Preparer) Turns() uint64 { return p.loop.Rounds() }

// schedule sets workers to what is due, in the order of the names, and returns how long until something else may be.
func (p *Preparer) schedule(ctx context.Context, workers *sync.WaitGroup) time.Duration {
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
func (p *Preparer) work(ctx context.Context, name string, t *preparation, want Wanted, bad string) {
	defer p.loop.Wake()
	defer p.Tidy()
	ready, err := p.maker.Prepare(ctx, name, want.Template)
	saved := ""
	if err == nil && want.Snapshot {
		saved, err = p.snapshot(ctx, name, want.Rules, ready, bad)
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
	t.inUse = &source{preparer: p, template: name, prepared: ready, onClaim: want.OnClaim, network: want.Rules, snapshot: saved}
	p.pools.Prepared(name, t.inUse)
	p.log.Info("template is ready", "template", name, "fingerprint", ready.Fingerprint(), "snapshot", saved)
}

// knows tells whether a template is configured.
func (p *Preparer) knows(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.templates[name] != nil
}

// uses tells whether sandboxes are started from an image.
func (p *Preparer) uses(digest string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.templates {
		if t.inUse != nil && t.inUse.prepared.Digest() == digest {
			return true
		}
	}
	return false
}
