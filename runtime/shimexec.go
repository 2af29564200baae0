package runtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// errNotBegun is that runsc gave up on a process within the ten seconds that it gives each to appear, as happens on a busy host.
// No command has begun before runsc has seen it, so there is no harm in another attempt.
var errNotBegun = errors.New("runsc lost patience with the command before it began")

// shimProcess is a process that the shim started, with a runsc beside it for as long as it runs.
type shimProcess struct {
	client.Process
	exited <-chan client.ExitStatus
}

func (e *Engine) execByShim(ctx context.Context, container client.Container, process *specs.Process, spec ExecSpec) (*Process, error) {
	task, err := loadTask(ctx, container)
	if err != nil {
		return nil, fmt.Errorf("load task: %w", err)
	}
	for {
		p, err := e.attempt(ctx, container.ID(), task, process, spec)
		if !errors.Is(err, errNotBegun) || context.Cause(ctx) != nil {
			return p, err
		}
		e.log.Debug("a command did not begin; it is tried again", "sandbox", container.ID(), "err", err)
	}
}

// attempt starts a command. After errNotBegun it may be tried again.
func (e *Engine) attempt(ctx context.Context, id string, task client.Task, process *specs.Process, spec ExecSpec) (*Process, error) {
	started := &shimProcess{}
	p := &Process{body: started, engine: e, id: id}
	stdin := &input{reader: spec.Stdin, leave: leaveByte(spec.TTY), started: make(chan bool, 1), atEnd: func() { p.closeStdin(started) }}
	execID := "e-" + strings.ToLower(rand.Text()[:16])
	streams := []cio.Opt{cio.WithFIFODir(e.cfg.fifoDir()), cio.WithStreams(stdin, meteredWriter{spec.Stdout, &p.output}, meteredWriter{spec.Stderr, &p.output})}
	if spec.TTY {
		streams = append(streams, cio.WithTerminal)
	}
	made, err := task.Exec(ctx, execID, process, cio.NewCreator(streams...))
	if err != nil {
		stdin.started <- false
		return nil, fmt.Errorf("create process: %w", err)
	}
	started.Process = made
	if err := p.start(ctx, started, spec, stdin); err != nil {
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

func (p *Process) start(ctx context.Context, process *shimProcess, spec ExecSpec, stdin *input) (err error) {
	defer func() { stdin.started <- err == nil }()
	// The wait outlives the start.
	if process.exited, err = process.Wait(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("wait for process: %w", err)
	}
	if err := process.Start(ctx); err != nil {
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

func (p *shimProcess) await(ctx context.Context) (int, error) {
	select {
	case status := <-p.exited:
		code, _, err := status.Result()
		return int(code), err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (p *shimProcess) signal(ctx context.Context, signal syscall.Signal) error {
	return p.Kill(ctx, signal)
}

func (p *shimProcess) resize(ctx context.Context, rows, cols uint16) error {
	return p.Resize(ctx, uint32(cols), uint32(rows))
}

func (p *shimProcess) forget(ctx context.Context) error {
	_, err := p.Delete(ctx, client.WithProcessKill)
	return err
}

func (p *shimProcess) streams() streams { return p.IO() }

// closeStdin tells the shim, which keeps the pipe open, that there is no more input.
func (p *Process) closeStdin(process *shimProcess) {
	ctx, cancel := context.WithTimeout(context.Background(), p.engine.cfg.PauseTimeout)
	defer cancel()
	if err := process.CloseIO(ctx, client.WithStdinCloser); err != nil && !errdefs.IsNotFound(native(err)) {
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
