package command

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/client"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/call"
	"sandpool/runtime/runsc"
	"sandpool/runtime/supervisor"
)

// Config says where commands are started. All fields are required.
type Config struct {
	Calls        call.Caller
	Root         runsc.Root    // where runsc keeps the sandboxes
	FIFODir      string        // where the pipes of commands are made that shims start
	StartTimeout time.Duration // of a sandbox
	PauseTimeout time.Duration // of a signal, and of other short calls
	Step         func(string)  // told at every step after which a crash must lose nothing
	Log          *slog.Logger
}

// Starter starts commands, and has what goes on behind them.
type Starter struct {
	Direct bool // sentries start commands without the shim; set before there are others than trials

	cfg       Config
	life      context.Context //nolint:containedctx // ends with the starter
	endLife   context.CancelFunc
	work      sync.WaitGroup
	leftovers leftovers
	pipes     *pipes // that an earlier daemon left
}

// New makes a starter, which is to be closed.
func New(cfg Config) *Starter {
	s := &Starter{cfg: cfg, leftovers: leftovers{of: map[string][]*Process{}}}
	s.life, s.endLife = context.WithCancel(context.Background())
	return s
}

// Close lets go of all commands and waits for what goes on behind them. Those that their sandboxes' sentries started run on.
func (s *Starter) Close() {
	s.endLife()
	s.leftovers.close()
	s.work.Wait()
	if s.pipes != nil {
		s.pipes.close()
	}
}

// Target is a sandbox as commands see it, from a start of its task to the end of that.
type Target struct {
	Sandbox
	starter *Starter

	mu      sync.Mutex
	control runsc.Control // once it was asked for

	container atomic.Pointer[client.Container] // likewise

	plugging   chan struct{} // has room for one: who opens the connection
	supervisor atomic.Pointer[supervisor.Conn]
	given      atomic.Pointer[[]string] // what claims gave it, once that is known
}

// Sandbox is what is known of a sandbox by who has its commands started.
type Sandbox struct {
	ID        string
	Process   *specs.Process                                  // its own: commands have its user, folder and environment
	Flags     map[string]string                               // of runsc
	Container func(context.Context) (client.Container, error) // asks containerd for it: a shim starts commands by it
	ByShim    func()                                          // told before a shim starts a command, and with it processes that serve the sandbox
}

// Target makes one of a sandbox.
func (s *Starter) Target(of Sandbox) *Target {
	return &Target{starter: s, Sandbox: of, plugging: make(chan struct{}, 1)}
}

// load asks for the container, unless it is known. Two who ask at once both do.
func (s *Target) load(ctx context.Context) (client.Container, error) {
	if known := s.container.Load(); known != nil {
		return *known, nil
	}
	container, err := s.Container(ctx)
	if err == nil {
		s.container.Store(&container)
	}
	return container, err
}

// Sentry is where the sandbox's sentry takes calls.
func (s *Target) Sentry() (runsc.Control, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control.Socket != "" {
		return s.control, nil
	}
	control, err := s.starter.cfg.Root.Control(s.ID)
	if err == nil {
		s.control = control
	}
	return control, err
}

// do makes a short call about a part of the sandbox.
func (s *Target) do(ctx context.Context, verb, part string, fn func(context.Context) error) error {
	return s.starter.cfg.Calls.Do(ctx, s.starter.cfg.PauseTimeout, call.Op{Verb: verb, Object: part + " in sandbox " + s.ID, Sandbox: s.ID}, fn)
}
