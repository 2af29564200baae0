package runtime

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// drainTime is how long the output of an ended process may stand still; a child of its that keeps the pipe open is cut off.
const drainTime = 2 * time.Second

// ExecSpec is a command to run in a sandbox, and its input and output. Nil streams are empty or dropped.
type ExecSpec struct {
	Args []string
	Env  []string // KEY=VALUE, added to the sandbox's
	Cwd  string   // empty: the sandbox's own
	Root bool     // as root, whoever the sandbox's own user is
	TTY  bool     // one terminal instead of three streams; Stderr is not used
	Rows uint16   // with TTY; 0: unknown
	Cols uint16

	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Process is a command that runs in a sandbox. Wait must be called.
type Process struct {
	body
	engine *Engine
	id     string // of the sandbox
	output meter
}

// body is a process as who started it sees it: its sandbox's sentry, or containerd's shim.
type body interface {
	// await returns the exit code once the process has ended. That ctx ended first is an error.
	await(ctx context.Context) (int, error)
	// signal fails with class NotFound when the process has ended already.
	signal(ctx context.Context, signal syscall.Signal) error
	resize(ctx context.Context, rows, cols uint16) error
	// forget kills the process if it still runs.
	forget(ctx context.Context) error
	streams() streams
}

// streams are the copies of a process's input and output; see cio.IO.
type streams interface {
	Wait()   // until all output is copied
	Cancel() // ends the copies
	Close() error
}

// Exec starts a command in a running sandbox. ctx bounds the start only.
func (e *Engine) Exec(ctx context.Context, id string, spec ExecSpec) (p *Process, err error) {
	err = e.call(ctx, e.cfg.StartTimeout, "exec in sandbox "+id, func(ctx context.Context) error {
		p, err = e.exec(ctx, id, spec)
		return err
	})
	return p, err
}

func (e *Engine) exec(ctx context.Context, id string, spec ExecSpec) (*Process, error) {
	container, err := e.client.LoadContainer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", err)
	}
	own, err := container.Spec(ctx)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	spec = spec.withStreams()
	process := processSpec(own.Process, spec)
	// A terminal's signals go to a process of the host, which only the shim starts.
	if e.direct && !spec.TTY {
		return e.execDirectly(ctx, id, process, spec)
	}
	process.Args = gated(process.Args)
	return e.execByShim(ctx, container, process, spec)
}

// processSpec is the sandbox's own process with another command.
func processSpec(own *specs.Process, spec ExecSpec) *specs.Process {
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

// gated is a command that begins when the first byte of its input is there, and then is run as a shell would.
func gated(args []string) []string { return append([]string{initPath, "exec", "--"}, args...) }

// withStreams gives a stream to those that nobody listens to: the shim wants all of them.
func (s ExecSpec) withStreams() ExecSpec {
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

// Resize tells the process how large its terminal is.
func (p *Process) Resize(ctx context.Context, rows, cols uint16) error {
	return p.engine.call(ctx, p.engine.cfg.PauseTimeout, "resize terminal in sandbox "+p.id, func(ctx context.Context) error {
		return p.resize(ctx, rows, cols)
	})
}

// Signal sends a signal to the process. One that ended already is an error of class NotFound.
func (p *Process) Signal(ctx context.Context, signal syscall.Signal) error {
	return p.engine.call(ctx, p.engine.cfg.PauseTimeout, "signal process in sandbox "+p.id, func(ctx context.Context) error {
		return p.signal(ctx, signal)
	})
}

// Wait returns the exit code when the process has ended and its output is written. When ctx ends first, it kills the
// process and returns the cause.
func (p *Process) Wait(ctx context.Context) (int, error) {
	code, err := p.await(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		p.discard(ctx)
		return 0, cause
	}
	p.drain()
	p.discard(ctx)
	if err != nil {
		return 0, fmt.Errorf("wait for process in sandbox %s: %w", p.id, native(err))
	}
	return code, nil
}

// drain waits until the rest of the output is written, as long as it moves or waits for its reader.
func (p *Process) drain() {
	out := p.streams()
	if out == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		out.Wait()
		close(done)
	}()
	tick := time.NewTicker(drainTime)
	defer tick.Stop()
	for before := p.output.written.Load(); ; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now := p.output.written.Load()
		if p.output.writing.Load() == 0 && now == before {
			out.Cancel()
			<-done
			return
		}
		before = now
	}
}

// discard kills the process if it still runs and forgets it.
func (p *Process) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	err := p.forget(ctx)
	if out := p.streams(); out != nil {
		out.Cancel()
		_ = out.Close()
	}
	if err != nil && !errdefs.IsNotFound(native(err)) {
		p.engine.log.Warn("process could not be deleted", "sandbox", p.id, "err", err)
	}
}

// meter tells whether output moves, or waits for its reader.
type meter struct {
	writing atomic.Int32 // writes under way
	written atomic.Int64 // writes done
}

// meteredWriter passes output on and measures it.
type meteredWriter struct {
	w     io.Writer
	meter *meter
}

func (w meteredWriter) Write(b []byte) (int, error) {
	w.meter.writing.Add(1)
	defer w.meter.writing.Add(-1)
	defer w.meter.written.Add(1)
	return w.w.Write(b)
}
