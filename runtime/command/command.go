// Package command starts commands in sandboxes, by their sentries or by their shims, and passes on what they read and write.
package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/call"
)

// Spec is a command to run in a sandbox, and its input and output. Nil streams are empty or dropped.
type Spec struct {
	Args []string
	Env  []string // KEY=VALUE, added to the sandbox's
	Cwd  string   // empty: the sandbox's own
	Root bool     // as root, whoever the sandbox's own user is
	TTY  bool     // one terminal instead of three streams; Stderr is not used
	Rows uint16   // with TTY; 0: unknown
	Cols uint16
	Bulk bool // much goes through its input or output

	// Stdin is read until it ends, also when the command takes no more. It must end at the latest when Wait has returned.
	Stdin          io.Reader
	Stdout, Stderr io.Writer // not written to any more once Wait has returned an exit code

	Given bool // with what its claim brought along
	Owned bool // it ends with this daemon, however that ends

	alone bool // it starts no others: its end is that of its session
}

// Process is a command that runs in a sandbox, as the leader of a session and a process group of its own. Wait must be called.
type Process struct {
	body
	in     *Target
	pid    int32 // in the sandbox; 0: unknown, as it is in sandboxes whose init is of an older release
	tty    bool
	alone  bool
	output outputs
}

// body is a process as who started it sees it: its sandbox's sentry, or containerd's shim.
type body interface {
	// await returns the exit code once the process has ended. That ctx ended first is an error.
	await(ctx context.Context) (int, error)
	hasEnded() bool
	// signal signals this process alone. It fails with class NotFound when the process has ended already.
	signal(ctx context.Context, signal syscall.Signal) error
	resize(ctx context.Context, rows, cols uint16) error
	// forget removes what is known of a process that has ended.
	forget(ctx context.Context) error
	streams() streams
}

func (s *Target) newProcess(b body, spec Spec) *Process {
	return &Process{body: b, in: s, tty: spec.TTY, alone: spec.alone, output: outputs{pace: &s.starter.leftovers.pace}}
}

// result is how a process ended.
type result struct {
	ended  atomic.Bool
	exited chan struct{} // closed when code and err are set
	code   int
	err    error
}

func newResult() result { return result{exited: make(chan struct{})} }

func (r *result) end(code int, err error) {
	r.code, r.err = code, err
	r.ended.Store(true)
	close(r.exited)
}

func (r *result) await(ctx context.Context) (int, error) {
	select {
	case <-r.exited:
		return r.code, r.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (r *result) hasEnded() bool { return r.ended.Load() }

// streams are the copies of a process's input and output; see cio.IO.
type streams interface {
	Wait()   // until all output is copied
	Cancel() // ends the copies
	Close() error
}

// Start starts a command in the sandbox, which runs.
func (s *Target) Start(ctx context.Context, spec Spec) (*Process, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	if spec.Given {
		env, err := s.Given(ctx)
		if err != nil {
			return nil, err
		}
		spec.Env = slices.Concat(env, spec.Env)
	}
	spec = spec.withStreams()
	process := processSpec(s.Process, spec)
	var p *Process
	var err error
	if s.starter.Direct && !spec.TTY { // a terminal's signals go to a process of the host, which only the shim starts
		p, err = s.execDirectly(ctx, process, spec)
	} else {
		p, err = s.execByShim(ctx, process, spec)
	}
	if err == nil && spec.Owned {
		s.own(p)
	}
	return p, err
}

// check refuses what would reach the sandbox as something else: all is sent as JSON, which is UTF-8.
func (s Spec) check() error {
	for _, text := range slices.Concat(s.Args, s.Env, []string{s.Cwd}) {
		if !utf8.ValidString(text) {
			return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("%q is no UTF-8", text))
		}
	}
	return nil
}

// processSpec is the sandbox's own process with another command.
func processSpec(own *specs.Process, spec Spec) *specs.Process {
	process := *own
	process.Args = spec.Args
	process.Env = slices.Concat(own.Env, spec.Env)
	process.Terminal = spec.TTY
	if spec.Root {
		process.User = specs.User{}
	}
	if spec.Cwd != "" {
		process.Cwd = spec.Cwd
	}
	if spec.TTY && spec.Rows > 0 && spec.Cols > 0 {
		process.ConsoleSize = &specs.Box{Height: uint(spec.Rows), Width: uint(spec.Cols)}
	}
	return &process
}

// withStreams gives a stream to those that nobody listens to: the shim wants all of them.
func (s Spec) withStreams() Spec {
	if s.Stdin == nil {
		s.Stdin = strings.NewReader("")
	}
	if s.Stdout == nil {
		s.Stdout = io.Discard
	}
	if s.Stderr == nil {
		s.Stderr = io.Discard
	}
	return s
}

// MustSucceed runs a command in the sandbox; one that fails is an error.
func (s *Target) MustSucceed(ctx context.Context, spec Spec) error {
	p, err := s.Start(ctx, spec)
	if err != nil {
		return err
	}
	return p.Succeeds(ctx)
}

// Succeeds waits for the end of a command of the init; one that fails is an error.
func (p *Process) Succeeds(ctx context.Context) error {
	code, err := p.Wait(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("the init answers with exit code %d", code)
	}
	return err
}

// Resize tells the process how large its terminal is.
func (p *Process) Resize(ctx context.Context, rows, cols uint16) error {
	return p.in.do(ctx, "resize", "terminal", func(ctx context.Context) error {
		return p.resize(ctx, rows, cols)
	})
}

// Wait returns the exit code when the process has ended and its output is written. When ctx ends first, it kills the
// process's session and returns the cause. What children of the process write after that is dropped.
func (p *Process) Wait(ctx context.Context) (int, error) {
	code, err := p.await(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		p.abandon(ctx)
		return 0, cause
	}
	if flowed := p.flowed(); p.drain(flowed) {
		p.discard(ctx)
	} else {
		p.output.drop()
		p.in.starter.leftovers.keep(p, flowed)
	}
	if err != nil {
		return 0, fmt.Errorf("wait for process in sandbox %s: %w", p.in.ID, call.Native(err))
	}
	return code, nil
}

// abandon kills the process's session. Who left it may still read its output.
func (p *Process) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), call.CleanupTimeout)
	defer cancel()
	p.output.dropping.Store(true)
	if err := p.kill(ctx); err != nil {
		p.in.starter.cfg.Log.Warn("process could not be killed", "sandbox", p.in.ID, "err", err)
	}
	p.in.starter.leftovers.keep(p, p.flowed())
}

// discard forgets a process that has ended, and its streams.
func (p *Process) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), call.CleanupTimeout)
	defer cancel()
	err := p.forget(ctx)
	p.close()
	if err != nil && !errdefs.IsNotFound(call.Native(err)) {
		p.in.starter.cfg.Log.Warn("process could not be deleted", "sandbox", p.in.ID, "err", err)
	}
}

func (p *Process) close() {
	if out := p.streams(); out != nil {
		out.Cancel()
		_ = out.Close()
	}
}
