package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/call"
	"sandpool/runtime/command"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/runsc"
)

// ExecSpec is a command to run in a sandbox.
type ExecSpec = command.Spec

// Process is a command that runs in a sandbox.
type Process = command.Process

// Processes are those of a sandbox, which outlive their clients.
type Processes = command.Processes

// Sandbox is a handle on a sandbox: what of it stays the same from a start of its task to the end of that. It is opened once, so that
// what is done in the sandbox looks nothing up. It is no store: all of it can be read again, and is by the next daemon.
type Sandbox struct {
	commands *command.Target
}

// handles are the sandboxes that were opened, by id, and the processes of those that were seen to start.
type handles struct {
	mu      sync.Mutex
	open    map[string]*Sandbox
	serving map[string]hostproc.Table // sentry, gofer and shim; none where there may be more
	ending  map[string]bool           // the engine ends its task: nobody asks how that ended
}

func newHandles() handles {
	return handles{open: map[string]*Sandbox{}, serving: map[string]hostproc.Table{}, ending: map[string]bool{}}
}

// served notes which processes serve a sandbox, or that this is not known any more.
func (h *handles) served(id string, by hostproc.Table) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.serving[id] = by; by == nil {
		delete(h.serving, id)
	}
}

// sandbox returns the handle on a sandbox, which is opened if need be. That there is none is an error of class NotFound.
func (e *Engine) sandbox(ctx context.Context, id string) (*Sandbox, error) {
	e.handles.mu.Lock()
	s := e.handles.open[id]
	e.handles.mu.Unlock()
	if s != nil {
		return s, nil
	}
	container, err := e.client.ContainerService().Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", call.Native(err))
	}
	var own specs.Spec
	if container.Spec != nil {
		err = json.Unmarshal(container.Spec.GetValue(), &own)
	}
	if err == nil && own.Process == nil {
		err = errors.New("it names no process")
	}
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	file, err := runsc.ReadShimFile(e.cfg.sandboxFile(id, shimSuffix))
	if err != nil {
		return nil, err
	}
	return e.openSandbox(id, own.Process, file.Flags), nil
}

// openSandbox makes the handle on the sandbox of a container whose own process and runsc's flags are known.
func (e *Engine) openSandbox(id string, process *specs.Process, flags map[string]string) *Sandbox {
	s := &Sandbox{e.commands.Target(command.Sandbox{
		ID: id, Process: process, Flags: flags,
		Container: func(ctx context.Context) (client.Container, error) { return e.client.LoadContainer(ctx, id) },
		ByShim:    func() { e.handles.served(id, nil) },
	})}
	e.handles.mu.Lock()
	defer e.handles.mu.Unlock()
	e.handles.open[id] = s
	return s
}

// endTask forgets the handle on a sandbox whose task the engine ends until done is called. It returns what drop does.
func (e *Engine) endTask(id string) (serving hostproc.Table, done func()) {
	e.handles.mu.Lock()
	e.handles.ending[id] = true
	e.handles.mu.Unlock()
	return e.drop(id), func() {
		e.handles.mu.Lock()
		defer e.handles.mu.Unlock()
		delete(e.handles.ending, id)
	}
}

// isEnding tells whether the engine itself ends the task of a sandbox.
func (h *handles) isEnding(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ending[id]
}

// drop forgets the handle on a sandbox whose task has ended or is to be another. It returns the processes that serve it, if they are known.
func (e *Engine) drop(id string) hostproc.Table {
	e.handles.mu.Lock()
	defer e.handles.mu.Unlock()
	by := e.handles.serving[id]
	e.handles.dropLocked(id)
	return by
}

func (h *handles) dropLocked(id string) {
	if s := h.open[id]; s != nil {
		s.commands.Unplug()
	}
	delete(h.open, id)
	delete(h.serving, id)
}

// dropAllBut forgets the handles on sandboxes that are there no more.
func (e *Engine) dropAllBut(known map[string]look) {
	e.handles.mu.Lock()
	defer e.handles.mu.Unlock()
	for id := range e.handles.open {
		if _, there := known[id]; !there {
			e.handles.dropLocked(id)
		}
	}
}

// Exec starts a command in a running sandbox. ctx bounds the start only.
func (e *Engine) Exec(ctx context.Context, id string, spec ExecSpec) (p *Process, err error) {
	err = e.calls.Do(ctx, e.cfg.StartTimeout, on("exec", "in ", id), func(ctx context.Context) error {
		p, err = e.exec(ctx, id, spec)
		return err
	})
	return p, err
}

func (e *Engine) exec(ctx context.Context, id string, spec ExecSpec) (*Process, error) {
	s, err := e.sandbox(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := s.commands.Start(ctx, spec)
	if errors.Is(err, runsc.ErrSentryGone) {
		e.drop(id)                                                   // its processes have ended, or soon will
		if _, gone := e.sandbox(ctx, id); errdefs.IsNotFound(gone) { // so is all of the sandbox
			return nil, gone
		}
	}
	return p, err
}

// inside does something with the handle on a running sandbox.
func (e *Engine) inside(ctx context.Context, id string, op call.Op, do func(context.Context, *command.Target) error) error {
	return e.calls.Do(ctx, e.cfg.StartTimeout, op, func(ctx context.Context) error {
		s, err := e.sandbox(ctx, id)
		if err == nil {
			err = do(ctx, s.commands)
		}
		return err
	})
}

// Processes returns what processes a running sandbox's process 1 supervises. ctx bounds the opening of a connection to it only.
func (e *Engine) Processes(ctx context.Context, id string) (p Processes, err error) {
	err = e.inside(ctx, id, on("supervise", "processes of ", id), func(ctx context.Context, s *command.Target) error {
		p, err = s.Processes(ctx)
		return err
	})
	return p, err
}

// Give adds to what commands of a sandbox's claim get in their environment; see command.Target.
func (e *Engine) Give(ctx context.Context, id string, env []string, inherits bool) error {
	return e.inside(ctx, id, on("give", "an environment to ", id), func(ctx context.Context, s *command.Target) error {
		return s.Give(ctx, env, inherits)
	})
}

// Door returns a new pair of pipes to a running sandbox's door, for package door; see command.Target.
func (e *Engine) Door(ctx context.Context, id string) (in, out *os.File, err error) {
	err = e.inside(ctx, id, on("door", "of ", id), func(ctx context.Context, s *command.Target) error {
		in, out, err = s.Door(ctx)
		return err
	})
	return in, out, err
}

// tryDirectly finds out, in a sandbox that runs, whether this runsc's sentries start processes for the daemon itself, and pause and resume.
// What they do not do, the shim does.
func (e *Engine) tryDirectly(ctx context.Context, id string) {
	e.commands.Direct, e.pauses.Direct = true, false
	e.commands.Direct = e.try(ctx, "exec", "commands in sandboxes start slowly, since only the shim can start them", func(ctx context.Context) error { return e.probe(ctx, id) })
	e.pauses.Direct = e.try(ctx, "pause", "claims of paused sandboxes take longer, since only the shim can pause and resume", func(ctx context.Context) error { return e.pauses.Try(ctx, id, e.probe) })
}

// try does without the shim what otherwise is slow, and warns if that fails.
func (e *Engine) try(ctx context.Context, verb, slow string, do func(ctx context.Context) error) bool {
	err := e.calls.Do(ctx, e.cfg.PauseTimeout, call.Op{Verb: verb, Object: "without the shim"}, do)
	if err != nil && context.Cause(ctx) == nil {
		e.warn(fmt.Sprintf("%s: %v", slow, err))
	}
	return err == nil
}
