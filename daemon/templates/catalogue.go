package templates

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime"
)

// State is how far a template is.
type State struct {
	Ready    bool   // sandboxes can be started
	Busy     bool   // it is being made ready, for the first time or again
	Err      error  // of the last attempt to make it ready
	Digest   string // of the image in use
	Snapshot string // that sandboxes go on from
}

// Catalogue answers from the preparer, and tries templates on the engine.
type Catalogue struct {
	preparer *Preparer
	engine   Engine
	trials   trialRunner
}

// NewCatalogue makes a Catalogue of the templates of a preparer.
func NewCatalogue(p *Preparer, engine Engine, pools Pools) Catalogue {
	return Catalogue{preparer: p, engine: engine, trials: pools}
}

// State returns how far a template is.
func (c Catalogue) State(name string) State {
	c.preparer.mu.Lock()
	defer c.preparer.mu.Unlock()
	t := c.preparer.templates[name]
	if t == nil {
		return State{} // a reload has just added it
	}
	s := State{Ready: t.inUse != nil, Busy: t.busy || t.due, Err: t.err}
	if t.inUse != nil {
		s.Digest, s.Snapshot = t.inUse.prepared.Digest(), t.inUse.snapshot
	}
	return s
}

// Try returns each step that was taken with a template, the last of them the one that failed, if any. What keeps it from
// trying at all is an error.
func (c Catalogue) Try(ctx context.Context, name string) ([]wire.TemplateStep, error) {
	c.preparer.mu.Lock()
	t := c.preparer.templates[name]
	if t == nil {
		c.preparer.mu.Unlock()
		return nil, errdefs.ErrUnavailable.WithMessage("the template was just added: try again")
	}
	want := t.want
	c.preparer.mu.Unlock()
	began := time.Now()
	prepared, err := c.engine.Prepare(ctx, name, want.Template)
	steps := []wire.TemplateStep{{Step: runtime.StepImage, OK: true, TookMS: wire.Milliseconds(time.Since(began))}}
	if err != nil {
		return failed(ctx, steps, err)
	}
	var took runtime.Phases
	var startErr error
	tryErr := c.trials.Try(ctx, name, want.Rules, func(ctx context.Context, id string, labels map[string]string) error {
		took, startErr = c.engine.Start(ctx, id, prepared, labels)
		return startErr
	})
	if startErr == nil && tryErr != nil { // it did not come to a start
		return nil, tryErr
	}
	for _, phase := range []struct {
		step string
		took time.Duration
	}{
		{runtime.StepCreate, took.Image}, {runtime.StepStart, took.Sentry}, {runtime.StepProbe, took.UserSpace},
		{runtime.StepPrewarm, took.Dependencies}, {runtime.StepReady, took.Ready},
	} {
		steps = append(steps, wire.TemplateStep{Step: phase.step, OK: true, TookMS: wire.Milliseconds(phase.took)})
	}
	return failed(ctx, steps, startErr)
}

// failed marks the step at which err came, if any, and leaves out what would have followed.
func failed(ctx context.Context, steps []wire.TemplateStep, err error) ([]wire.TemplateStep, error) {
	if err == nil {
		return steps, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause // its client went away
	}
	at, ok := errors.AsType[*runtime.StepError](err)
	if !ok {
		return nil, err
	}
	for i, s := range steps {
		if s.Step == at.Step {
			steps = steps[:i]
			break
		}
	}
	return append(steps, wire.TemplateStep{Step: at.Step, Detail: err.Error()}), nil
}
