package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/client"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/call"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/runsc"
)

// Sandbox is a handle on a sandbox: what of it stays the same from a start of its task to the end of that. It is opened once, so that
// what is done in the sandbox looks nothing up. It is no store: all of it can be read again, and is by the next daemon.
type Sandbox struct {
	engine    *Engine
	id        string
	container client.Container
	process   *specs.Process    // its own: commands have its user, folder and environment
	flags     map[string]string // of runsc

	mu      sync.Mutex
	control runsc.Control // once it was asked for
}

// handles are the sandboxes that were opened, by id, and the processes of those that were seen to start.
type handles struct {
	mu      sync.Mutex
	open    map[string]*Sandbox
	serving map[string]hostproc.Table // sentry, gofer and shim; none where there may be more
}

func newHandles() handles {
	return handles{open: map[string]*Sandbox{}, serving: map[string]hostproc.Table{}}
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
	container, err := e.client.LoadContainer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", call.Native(err))
	}
	return e.openSandbox(ctx, container)
}

// openSandbox makes the handle on a container's sandbox.
func (e *Engine) openSandbox(ctx context.Context, container client.Container) (*Sandbox, error) {
	// Without a refresh this asks nobody.
	info, err := container.Info(ctx, client.WithoutRefreshedMetadata)
	var own specs.Spec
	if err == nil && info.Spec != nil {
		err = json.Unmarshal(info.Spec.GetValue(), &own)
	}
	if err == nil && own.Process == nil {
		err = errors.New("it names no process")
	}
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	file, err := runsc.ReadShimFile(e.cfg.sandboxFile(container.ID(), shimSuffix))
	if err != nil {
		return nil, err
	}
	s := &Sandbox{engine: e, id: container.ID(), container: container, process: own.Process, flags: file.Flags}
	e.handles.mu.Lock()
	defer e.handles.mu.Unlock()
	e.handles.open[s.id] = s
	return s, nil
}

// drop forgets the handle on a sandbox whose task has ended or is to be another. It returns the processes that serve it, if they are known.
func (e *Engine) drop(id string) hostproc.Table {
	e.handles.mu.Lock()
	defer e.handles.mu.Unlock()
	by := e.handles.serving[id]
	delete(e.handles.open, id)
	delete(e.handles.serving, id)
	return by
}

// dropAllBut forgets the handles on sandboxes that are there no more.
func (e *Engine) dropAllBut(known map[string]look) {
	e.handles.mu.Lock()
	defer e.handles.mu.Unlock()
	for id := range e.handles.open {
		if _, there := known[id]; !there {
			delete(e.handles.open, id)
			delete(e.handles.serving, id)
		}
	}
}

// sentry is where the sandbox's sentry takes calls.
func (s *Sandbox) sentry() (runsc.Control, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control.Socket != "" {
		return s.control, nil
	}
	control, err := s.engine.cfg.runscRoot().Control(s.id)
	if err == nil {
		s.control = control
	}
	return control, err
}
