// Package pause freezes sandboxes and lets them go on: by their sentries themselves or, where those do not, by their shims.
package pause

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/call"
	"sandpool/runtime/runsc"
)

// Config says where sandboxes are paused. All fields are required.
type Config struct {
	Client  *client.Client
	Calls   call.Caller
	Program runsc.Program
	Root    runsc.Root    // where runsc keeps the sandboxes
	Timeout time.Duration // of one of containerd's answers
	Step    func(string)  // told at every step after which a crash must lose nothing
	Log     *slog.Logger
}

// Pauser pauses and resumes sandboxes. Make it with New, and close it. Its methods may be called from many goroutines.
type Pauser struct {
	Direct bool // sentries do it without the shim, see Try; set before there are others than trials

	cfg     Config
	events  chan event
	life    context.Context //nolint:containedctx // ends with the pauser
	endLife context.CancelFunc
	work    sync.WaitGroup
}

// New makes a pauser.
func New(cfg Config) *Pauser {
	p := &Pauser{cfg: cfg, events: make(chan event, maxEvents)}
	p.life, p.endLife = context.WithCancel(context.Background())
	p.work.Go(p.publish)
	return p
}

// Close waits until containerd was told of all that was done, as long as it listens.
func (p *Pauser) Close() {
	p.endLife()
	p.work.Wait()
}

// change is a pause or a resume.
type change struct {
	from, to specs.ContainerState
	ask      func(runsc.Control, context.Context) (sent bool, err error)
	locked   func() // told when all is prepared, and when the sentry has done it
	done     func()
	byShim   func(ctx context.Context, id string) error
	event    func(id string) event
}

func (p *Pauser) pausing() change {
	return change{
		from: specs.StateRunning, to: runsc.Paused, ask: runsc.Control.Pause,
		locked: func() { p.cfg.Step("pause locked") },
		done:   func() { p.cfg.Step("pause done") },
		byShim: func(ctx context.Context, id string) error {
			_, err := p.cfg.Client.TaskService().Pause(ctx, &tasksapi.PauseTaskRequest{ContainerID: id})
			return err
		},
		event: func(id string) event { return event{"/tasks/paused", &eventsapi.TaskPaused{ContainerID: id}} },
	}
}

func (p *Pauser) resuming() change {
	return change{
		from: runsc.Paused, to: specs.StateRunning, ask: runsc.Control.Resume,
		locked: func() { p.cfg.Step("resume locked") },
		done:   func() { p.cfg.Step("resume done") },
		byShim: p.resumeByShim,
		event:  func(id string) event { return event{"/tasks/resumed", &eventsapi.TaskResumed{ContainerID: id}} },
	}
}

func (p *Pauser) resumeByShim(ctx context.Context, id string) error {
	_, err := p.cfg.Client.TaskService().Resume(ctx, &tasksapi.ResumeTaskRequest{ContainerID: id})
	return err
}

// Pause freezes a sandbox that runs. That it does not run is an error of class FailedPrecondition. After others nobody knows what the
// sandbox does: it must be ended.
func (p *Pauser) Pause(ctx context.Context, id string) error { return p.change(ctx, id, p.pausing()) }

// Resume lets a sandbox go on that is paused; see Pause for errors.
func (p *Pauser) Resume(ctx context.Context, id string) error {
	return p.change(ctx, id, p.resuming())
}

func (p *Pauser) change(ctx context.Context, id string, c change) error {
	if !p.Direct {
		return c.byShim(ctx, id)
	}
	err := p.directly(ctx, id, c)
	if errors.Is(err, errNoDraft) { // the shim may write where the daemon may not
		p.cfg.Log.Warn("only the shim can change what runsc notes of a sandbox, which is slow", "sandbox", id, "err", err)
		return c.byShim(ctx, id)
	}
	if err == nil {
		p.tell(c.event(id))
	}
	return err
}

// errNoDraft is that nothing was done, since it could not be noted.
var errNoDraft = errors.New("write runsc's state")

// directly has the sentry do it, and notes that as runsc does. All that can fail is done before the sentry is asked, but for putting a file
// in the place of another; and the draft of the notes is there for as long as the sandbox may not be as they say.
func (p *Pauser) directly(ctx context.Context, id string, c change) error {
	notes, err := p.cfg.Root.Lock(ctx, id)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errdefs.ErrNotFound.WithMessage("runsc knows of no such sandbox")
	case err != nil && context.Cause(ctx) != nil:
		return waiting{"while another program had it locked", err}
	case err != nil:
		return err
	}
	defer notes.Close()
	if notes.Status != c.from {
		return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("runsc says that it is %q, and not %q", notes.Status, c.from))
	}
	control, err := notes.Control()
	if err != nil {
		return err
	}
	if err := notes.Draft(c.to); errors.Is(err, os.ErrExist) {
		return fmt.Errorf("an earlier pause or resume was cut off: %w", errdefs.ErrAborted)
	} else if err != nil {
		return fmt.Errorf("%w: %w", errNoDraft, err)
	}
	c.locked()
	sent, err := c.ask(control, ctx)
	switch {
	case !sent:
		return errors.Join(waiting{"while its sentry could not be asked", err}, notes.Discard())
	case err != nil:
		return waiting{"its sentry was asked, and nobody knows whether it was done", err}
	}
	c.done()
	return notes.Adopt()
}

// waiting is an error that says what was waited for, also when that missed its deadline.
type waiting struct {
	what string
	err  error
}

func (w waiting) Error() string { return w.what + ": " + w.err.Error() }

func (w waiting) Unwrap() error { return w.err }

// With is cause, at the same place.
func (w waiting) With(cause error) error { return waiting{w.what, cause} }

// Forsake has runsc take a paused sandbox that is to be killed for one that runs: it neither signals nor deletes one that is paused. What is
// in the sandbox does not run again. If it is not killed, a draft says that it does not run.
func (p *Pauser) Forsake(ctx context.Context, id string) error {
	if !p.Direct {
		return p.resumeByShim(ctx, id)
	}
	notes, err := p.cfg.Root.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer notes.Close()
	if err := notes.Draft(runsc.Paused); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return notes.Set(specs.StateRunning)
}
