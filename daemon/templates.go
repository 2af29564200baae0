package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime"
)

// catalogue is what the API needs to know of the templates, and to try one.
type catalogue interface {
	state(name string) templateState
	try(ctx context.Context, name string) ([]wire.TemplateStep, error)
}

// templateState is how far a template is.
type templateState struct {
	ready    bool   // sandboxes can be started
	busy     bool   // it is being made ready, for the first time or again
	err      error  // of the last attempt to make it ready
	digest   string // of the image in use
	snapshot string // that sandboxes go on from
}

func (a *api) listTemplates(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	cfg := a.config()
	list := wire.TemplateList{Templates: []wire.Template{}}
	for _, name := range slices.Sorted(maps.Keys(cfg.Templates)) {
		t, state := cfg.Templates[name], a.catalogue.state(name)
		entry := wire.Template{
			Name: name, Image: who.image(t.Image), Digest: state.digest, Pool: poolName(a.info.Region, name), State: wire.TemplateReady,
			Snapshot: state.snapshot, Platform: t.Platform, CPUs: t.CPUs, MemoryMiB: t.MemoryMiB, DiskMiB: t.DiskMiB, PIDs: t.PIDs,
		}
		switch {
		case state.err != nil:
			entry.State, entry.Reason = wire.TemplateFailed, who.reason(state.err.Error())
		case !state.ready || state.busy:
			entry.State = wire.TemplatePreparing
		}
		list.Templates = append(list.Templates, entry)
	}
	return answerJSON(w, http.StatusOK, list)
}

// checkTemplate makes a template ready anew, starts one sandbox of it and destroys that.
func (a *api) checkTemplate(w http.ResponseWriter, r *http.Request) error {
	if err := mayOperate(r, "check templates"); err != nil {
		return err
	}
	name := r.PathValue("name")
	if _, ok := a.config().Templates[name]; !ok {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no such template: %q", name))
	}
	if err := decode(w, r, &struct{}{}); err != nil {
		return err
	}
	steps, err := a.catalogue.try(r.Context(), name)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, wire.TemplateCheck{Steps: steps})
}

// templateCatalogue answers from the preparer, and tries templates on the engine.
type templateCatalogue struct {
	*preparer
	engine interface {
		maker
		starter
	}
	trials trier
}

func (c templateCatalogue) state(name string) templateState {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.templates[name]
	if t == nil {
		return templateState{} // a reload has just added it
	}
	s := templateState{ready: t.inUse != nil, busy: t.busy || t.due, err: t.err, snapshot: t.snapshot}
	if t.inUse != nil {
		s.digest = t.inUse.Digest()
	}
	return s
}

// try returns each step that was taken with a template, the last of them the one that failed, if any. What keeps it from
// trying at all is an error.
func (c templateCatalogue) try(ctx context.Context, name string) ([]wire.TemplateStep, error) {
	c.mu.Lock()
	t := c.templates[name]
	if t == nil {
		c.mu.Unlock()
		return nil, errdefs.ErrUnavailable.WithMessage("the template was just added: try again")
	}
	want := t.want
	c.mu.Unlock()
	began := time.Now()
	prepared, err := c.engine.Prepare(ctx, name, want.Template)
	steps := []wire.TemplateStep{{Step: runtime.StepImage, OK: true, TookMS: inMilliseconds(time.Since(began))}}
	if err != nil {
		return failed(ctx, steps, err)
	}
	var took runtime.Phases
	var startErr error
	tryErr := c.trials.Try(ctx, name, func(ctx context.Context, id string, labels map[string]string) error {
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
		steps = append(steps, wire.TemplateStep{Step: phase.step, OK: true, TookMS: inMilliseconds(phase.took)})
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
