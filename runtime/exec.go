package runtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
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

// errNotBegun is that runsc gave up on a process within the ten seconds that it gives each to appear, as happens on a busy host.
// No command has begun before runsc has seen it, so there is no harm in another attempt.
var errNotBegun = errors.New("runsc lost patience with the command before it began")

// Process is a command that runs in a sandbox. Wait must be called.
type Process struct {
	engine  *Engine
	id      string // of the sandbox
	process client.Process
	exited  <-chan client.ExitStatus
	output  meter
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
	task, err := loadTask(ctx, container)
	if err != nil {
		return nil, fmt.Errorf("load task: %w", err)
	}
	own, err := container.Spec(ctx)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	for {
		p, err := e.attempt(ctx, id, task, own.Process, spec)
		if !errors.Is(err, errNotBegun) || context.Cause(ctx) != nil {
			return p, err
		}
		e.log.Debug("a command did not begin; it is tried again", "sandbox", id, "err", err)
	}
}

// attempt starts a command. After errNotBegun it may be tried again.
func (e *Engine) attempt(ctx context.Context, id string, task client.Task, own *specs.Process, spec ExecSpec) (*Process, error) {
	p := &Process{engine: e, id: id}
	spec = spec.withStreams()
	stdin := &input{reader: spec.Stdin, leave: leaveByte(spec.TTY), started: make(chan bool, 1), atEnd: p.closeStdin}
	execID := "e-" + strings.ToLower(rand.Text()[:16])
	streams := []cio.Opt{cio.WithFIFODir(e.cfg.fifoDir()), cio.WithStreams(stdin, meteredWriter{spec.Stdout, &p.output}, meteredWriter{spec.Stderr, &p.output})}
	if spec.TTY {
		streams = append(streams, cio.WithTerminal)
	}
	process, err := task.Exec(ctx, execID, processSpec(own, spec), cio.NewCreator(streams...))
	if err != nil {
		stdin.started <- false
		return nil, fmt.Errorf("create process: %w", err)
	}
	p.process = process
	if err := p.start(ctx, spec, stdin); err != nil {
		p.discard(ctx)
		return nil, err
	}
	return p, nil
}

// loadTask finds the task of a container. On a busy host containerd may give a shim too little time to answer: that it says so
// is no answer.
func loadTask(ctx context.Context, container client.Container) (client.Task, error) {
	for {
		task, err := container.Task(ctx, nil)
		if err == nil || !errdefs.IsDeadlineExceeded(native(err)) || sleep(ctx, pollInterval) != nil {
			return task, err
		}
	}
}

// processSpec is the sandbox's own process with another command, which waits for its input's first byte: see input.
func processSpec(own *specs.Process, spec ExecSpec) *specs.Process {
	process := *own
	process.Args = append([]string{initPath, "exec", "--"}, spec.Args...)
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

func (p *Process) start(ctx context.Context, spec ExecSpec, stdin *input) (err error) {
	defer func() { stdin.started <- err == nil }()
	// The wait outlives the start.
	exited, err := p.process.Wait(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("wait for process: %w", err)
	}
	p.exited = exited
	if err := p.process.Start(ctx); err != nil {
		return fmt.Errorf("start process: %w", startError(err))
	}
	if spec.TTY && spec.Rows > 0 && spec.Cols > 0 {
		// runsc does not heed the spec's ConsoleSize. A process that ended already needs no size.
		if err := p.Resize(ctx, spec.Rows, spec.Cols); err != nil {
			p.engine.log.Debug("terminal has no size", "sandbox", p.id, "err", err)
		}
	}
	return nil
}

// startError makes an invalid argument of what the sentry says about a command that cannot be started: that there is no such
// folder. That there is no such program is found out by the init.
func startError(err error) error {
	if _, reason, ok := strings.Cut(err.Error(), " in sandbox: "); ok {
		return errdefs.ErrInvalidArgument.WithMessage(reason)
	}
	if strings.HasSuffix(err.Error(), "did not terminate successfully") {
		return fmt.Errorf("%w: %w", errNotBegun, err)
	}
	return err
}

// Resize tells the process how large its terminal is.
func (p *Process) Resize(ctx context.Context, rows, cols uint16) error {
	return p.engine.call(ctx, p.engine.cfg.PauseTimeout, "resize terminal in sandbox "+p.id, func(ctx context.Context) error {
		return p.process.Resize(ctx, uint32(cols), uint32(rows))
	})
}

// Signal sends a signal to the process. One that ended already is an error of class NotFound.
func (p *Process) Signal(ctx context.Context, signal syscall.Signal) error {
	return p.engine.call(ctx, p.engine.cfg.PauseTimeout, "signal process in sandbox "+p.id, func(ctx context.Context) error {
		return p.process.Kill(ctx, signal)
	})
}

// Wait returns the exit code when the process has ended and its output is written. When ctx ends first, it kills the
// process and returns the cause.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case status := <-p.exited:
		code, _, err := status.Result()
		p.drain()
		p.discard(ctx)
		if err != nil {
			return 0, fmt.Errorf("wait for process in sandbox %s: %w", p.id, native(err))
		}
		return int(code), nil
	case <-ctx.Done():
		p.discard(ctx)
		return 0, context.Cause(ctx)
	}
}

// drain waits until the rest of the output is written, as long as it moves or waits for its reader.
func (p *Process) drain() {
	out := p.process.IO()
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
	_, err := p.process.Delete(ctx, client.WithProcessKill)
	if out := p.process.IO(); out != nil {
		out.Cancel()
		_ = out.Close()
	}
	if err != nil && !errdefs.IsNotFound(native(err)) {
		p.engine.log.Warn("process could not be deleted", "sandbox", p.id, "process", p.process.ID(), "err", err)
	}
}

// closeStdin tells the shim, which keeps the pipe open, that there is no more input.
func (p *Process) closeStdin() {
	ctx, cancel := context.WithTimeout(context.Background(), p.engine.cfg.PauseTimeout)
	defer cancel()
	if err := p.process.CloseIO(ctx, client.WithStdinCloser); err != nil && !errdefs.IsNotFound(native(err)) {
		p.engine.log.Debug("input could not be closed", "sandbox", p.id, "err", err)
	}
}

// input is what a command reads: first the byte that lets it begin, once it was started, then the reader's. It calls atEnd
// once, when that ends.
type input struct {
	reader  io.Reader
	leave   byte
	started chan bool // gets one value: whether the command was started
	begun   bool
	once    sync.Once
	atEnd   func()
}

// leaveByte is what the init waits for before it becomes the command. A terminal does not echo the end of input.
func leaveByte(tty bool) byte {
	if tty {
		return 0x04
	}
	return '\n'
}

func (r *input) Read(b []byte) (int, error) {
	if !r.begun {
		if !<-r.started {
			return 0, io.EOF
		}
		r.begun = true
		b[0] = r.leave
		return 1, nil
	}
	n, err := r.reader.Read(b)
	if err != nil {
		r.once.Do(r.atEnd)
	}
	return n, err
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
