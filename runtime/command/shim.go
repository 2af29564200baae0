package command

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/lifetime/wait"
	"sandpool/runtime/call"
	"sandpool/runtime/template"
)

// errNotBegun is that runsc gave up on a process within the ten seconds that it gives each to appear, as happens on a busy host.
// No command has begun before runsc has seen it, so there is no harm in another attempt.
var errNotBegun = errors.New("runsc lost patience with the command before it began")

// errOldInit is that the init of a sandbox is of an older release, which does not say the number of the process that it becomes.
var errOldInit = errors.New("the init does not say its process id")

// shimProcess is a process that the shim started, with a runsc beside it for as long as it runs.
type shimProcess struct {
	result
	client.Process
}

// gated is a command that begins when the first byte of its input is there, and then is run as a shell would. The use gate of the
// init also says its process id before that.
func gated(use string, args []string) []string {
	return append([]string{template.InitPath, use, "--"}, args...)
}

func (s *Target) execByShim(ctx context.Context, process *specs.Process, spec Spec) (*Process, error) {
	s.ByShim()
	container, err := s.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load container: %w", call.Native(err))
	}
	task, err := loadTask(ctx, container)
	if err != nil {
		return nil, fmt.Errorf("load task: %w", err)
	}
	command, use := process.Args, "gate"
	for {
		process.Args = gated(use, command)
		p, err := s.attempt(ctx, task, process, spec, use == "gate")
		switch {
		case errors.Is(err, errOldInit):
			use = "exec"
		case !errors.Is(err, errNotBegun) || context.Cause(ctx) != nil:
			return p, err
		}
		s.starter.cfg.Log.Debug("a command did not begin; it is tried again", "sandbox", s.ID, "err", err)
	}
}

// attempt starts a command. After errNotBegun, and with another gate after errOldInit, it may be tried again.
func (s *Target) attempt(ctx context.Context, task client.Task, process *specs.Process, spec Spec, saysPID bool) (*Process, error) {
	started := &shimProcess{result: newResult()}
	p := s.newProcess(started, spec)
	stdin := &input{
		reader: spec.Stdin, goAhead: goAheadByte(spec.TTY), tty: spec.TTY, started: make(chan bool, 1), atEnd: func() { p.closeStdin(started) },
	}
	said := &firstLine{then: p.output.to(spec.Stdout), line: make(chan string, 1), passed: !saysPID}
	execID := "e-" + strings.ToLower(rand.Text()[:16])
	streams := []cio.Opt{cio.WithFIFODir(s.starter.cfg.FIFODir), cio.WithStreams(stdin, said, p.output.to(spec.Stderr))}
	if spec.TTY {
		streams = append(streams, cio.WithTerminal)
	}
	made, err := task.Exec(ctx, execID, process, cio.NewCreator(streams...))
	if err != nil {
		stdin.started <- false
		return nil, fmt.Errorf("create process: %w", err)
	}
	started.Process = made
	err = p.start(ctx, started, spec)
	if err == nil && saysPID {
		p.pid, err = started.awaitPID(ctx, said.line)
	}
	stdin.started <- err == nil
	if err != nil {
		p.discard(ctx)
		return nil, err
	}
	return p, nil
}

// awaitPID returns what the gate says before all else.
func (p *shimProcess) awaitPID(ctx context.Context, line <-chan string) (int32, error) {
	select {
	case said := <-line:
		pid, err := strconv.ParseInt(strings.TrimSpace(said), 10, 32)
		if err != nil {
			return 0, fmt.Errorf("read process id: %w", err)
		}
		return int32(pid), nil
	case <-p.exited:
		return 0, errOldInit
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// firstLine keeps the first line that is written, and passes on what follows.
type firstLine struct {
	then   io.Writer
	line   chan string // has room for it
	kept   []byte
	passed bool
}

func (f *firstLine) Write(b []byte) (int, error) {
	if f.passed {
		return f.then.Write(b)
	}
	f.kept = append(f.kept, b...)
	line, rest, whole := bytes.Cut(f.kept, []byte("\n"))
	if f.passed = whole; whole {
		f.line <- string(line)
		f.kept = nil
	}
	if whole && len(rest) > 0 {
		_, _ = f.then.Write(rest) // never fails
	}
	return len(b), nil
}

// loadTask finds the task of a container. On a busy host containerd may give a shim too little time to answer: that it says so
// is no answer.
func loadTask(ctx context.Context, container client.Container) (client.Task, error) {
	for {
		task, err := container.Task(ctx, nil)
		if err == nil || !errdefs.IsDeadlineExceeded(call.Native(err)) || wait.Sleep(ctx, wait.Interval) != nil {
			return task, err
		}
	}
}

func (p *Process) start(ctx context.Context, process *shimProcess, spec Spec) error {
	// The wait outlives the start.
	exited, err := process.Wait(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("wait for process: %w", err)
	}
	p.in.starter.work.Go(func() { process.watch(p.in.starter.life, exited) })
	if err := process.Start(ctx); err != nil {
		return fmt.Errorf("start process: %w", startError(err))
	}
	if spec.TTY && spec.Rows > 0 && spec.Cols > 0 {
		// runsc does not heed the spec's ConsoleSize. A process that ended already needs no size.
		if err := p.Resize(ctx, spec.Rows, spec.Cols); err != nil {
			p.in.starter.cfg.Log.Debug("terminal has no size", "sandbox", p.in.ID, "err", err)
		}
	}
	return nil
}

// watch waits for the end of the process.
func (p *shimProcess) watch(life context.Context, exited <-chan client.ExitStatus) {
	select {
	case status := <-exited:
		code, _, err := status.Result()
		p.end(int(code), err)
	case <-life.Done():
		p.end(0, context.Cause(life))
		if out := p.IO(); out != nil {
			out.Cancel()
		}
	}
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

func (p *shimProcess) streams() streams {
	if p.Process == nil || p.IO() == nil {
		return nil
	}
	return p.IO()
}

// closeStdin tells the shim, which keeps the pipe open, that there is no more input.
func (p *Process) closeStdin(process *shimProcess) {
	ctx, cancel := context.WithTimeout(context.Background(), p.in.starter.cfg.PauseTimeout)
	defer cancel()
	if err := process.CloseIO(ctx, client.WithStdinCloser); err != nil && !errdefs.IsNotFound(call.Native(err)) {
		p.in.starter.cfg.Log.Debug("input could not be closed", "sandbox", p.in.ID, "err", err)
	}
}

// input is what a command reads: first the byte that lets it begin, once it was started, then the reader's. It calls atEnd
// once, when that ends. To a terminal it then gives the end-of-file character, as often as a started line needs it: a terminal has no
// other end.
type input struct {
	reader  io.Reader
	goAhead byte
	tty     bool
	started chan bool // gets one value: whether the command was started
	atEnd   func()
}

// endOfFile is what a terminal takes for the end of input, unless its program wants it to be an ordinary character.
const endOfFile = 0x04

// goAheadByte is what the init waits for before it becomes the command. A terminal does not echo the end of input.
func goAheadByte(tty bool) byte {
	if tty {
		return endOfFile
	}
	return '\n'
}

// WriteTo is what containerd's copy of the input calls.
func (r *input) WriteTo(w io.Writer) (int64, error) {
	if !<-r.started {
		return 0, nil
	}
	to := &lineWriter{w: w, fresh: true}
	if _, err := w.Write([]byte{r.goAhead}); err == nil {
		feed(to, r.reader)
	}
	if r.tty {
		_, _ = w.Write(to.end())
	}
	r.atEnd()
	return 0, nil
}

// Read is there for its type only: copies call WriteTo.
func (r *input) Read([]byte) (int, error) { return 0, io.EOF }

// lineWriter knows whether a line has been started.
type lineWriter struct {
	w     io.Writer
	fresh bool
}

func (l *lineWriter) Write(b []byte) (int, error) {
	if len(b) > 0 {
		l.fresh = b[len(b)-1] == '\n'
	}
	return l.w.Write(b)
}

// Close leaves the pipe open for what follows.
func (l *lineWriter) Close() error { return nil }

// end is what ends the input of a terminal. The character ends a started line first.
func (l *lineWriter) end() []byte {
	if l.fresh {
		return []byte{endOfFile}
	}
	return []byte{endOfFile, endOfFile}
}
