package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/runtime/call"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
)

// Canary is what became of the trial of one platform.
type Canary struct {
	Platform string
	OK       bool
	Reason   string // why not
	Took     time.Duration
}

// choosePlatform takes the first configured platform on which a sandbox really runs.
func (e *Engine) choosePlatform(ctx context.Context) error {
	var reasons []string
	for _, platform := range runsc.Candidates(e.cfg.Platforms) {
		c := e.tryPlatform(ctx, platform)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if c.OK {
			e.log.Info("platform chosen", "platform", platform, "canary_ms", c.Took.Milliseconds())
			e.info.Platform = platform
			return nil
		}
		e.warn(fmt.Sprintf("platform %s cannot be used: %s", platform, c.Reason))
		reasons = append(reasons, platform+": "+c.Reason)
	}
	return fmt.Errorf("no configured gVisor platform works here; set runsc.platform to another one or to \"auto\" (%s)", strings.Join(reasons, "; "))
}

// usable returns why a platform cannot be used, or nil. It is tried once.
func (e *Engine) usable(ctx context.Context, platform string) error {
	select {
	case e.trials <- struct{}{}:
		defer func() { <-e.trials }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	tried := e.Info().Canaries
	at := slices.IndexFunc(tried, func(c Canary) bool { return c.Platform == platform })
	var c Canary
	if at >= 0 {
		c = tried[at]
	} else {
		c = e.tryPlatform(ctx, platform)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if !c.OK {
		return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("platform %s cannot be used: %s: set the template's platform to another one, or start the daemon anew to try it again", platform, c.Reason))
	}
	return nil
}

// tryPlatform runs a sandbox on the platform and notes the result, unless ctx ended. That its device opens proves nothing:
// only a run does.
func (e *Engine) tryPlatform(ctx context.Context, platform string) Canary {
	began := time.Now()
	id := NewID()
	defer e.hide(id)()
	err := e.calls.Do(ctx, e.cfg.CanaryTimeout, call.Op{Verb: "canary"}, func(ctx context.Context) error {
		t, err := e.prepare(ctx, nil, template.Template{Platform: platform}) // an empty root file system and the init: needs no image
		if err != nil {
			return err
		}
		if _, err := e.start(ctx, id, t, map[string]string{"sandpool.state": "canary"}, nil); err != nil {
			return err
		}
		if err := e.owned.LearnBundles(id); err != nil {
			return err
		}
		if e.info.Platform == "" {
			e.tryDirectly(ctx, id)
		}
		return nil
	})
	// Once the canary missed its deadline nothing can be learnt from asking it politely to end.
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*e.cfg.KillTimeout)
	defer cancel()
	if err != nil {
		err = errors.Join(err, hostproc.Kill(cleanup, id, hostproc.Working...))
	}
	if destroyErr := e.Destroy(cleanup, id); err == nil {
		err = destroyErr
	}
	c := Canary{Platform: platform, OK: err == nil, Took: time.Since(began)}
	if err != nil {
		c.Reason = err.Error()
	}
	if context.Cause(ctx) == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.info.Canaries = append(e.info.Canaries, c)
	}
	return c
}

// hide keeps a sandbox of the engine's own from List and Sweep until the returned function is called.
func (e *Engine) hide(id string) (done func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hidden[id] = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.hidden, id)
	}
}

func (e *Engine) isHidden(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hidden[id]
}
