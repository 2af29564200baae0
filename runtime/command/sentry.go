package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandpool/runtime/runsc"
)

// sentryProcess is a process that its sandbox's sentry started for the daemon itself. Nobody else knows of it, and it ends with
// its sandbox.
type sentryProcess struct {
	result
	in     *Target
	pid    int32
	copies copies
}

func (s *Target) execDirectly(ctx context.Context, command *specs.Process, spec Spec) (*Process, error) {
	raw := s.Flags["net-raw"] == "true"
	process := &sentryProcess{result: newResult(), in: s}
	p := s.newProcess(process, spec)
	files, err := process.copies.open(s.starter, p.output.to(spec.Stdout), p.output.to(spec.Stderr))
	if err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	defer closeAll(files)
	if spec.Bulk {
		process.copies.widen()
	}
	var refused bool
	elsewhere := looksElsewhere(command)
	if !elsewhere {
		err = process.start(ctx, command, raw, files)
		_, refused = errors.AsType[runsc.SentryError](err)
	}
	if refused || elsewhere {
		// Of a program that cannot be run the init tells more, and it finds one in a shell's way.
		command.Args, spec.Stdin = gated("exec", command.Args), io.MultiReader(bytes.NewReader([]byte{goAheadByte(false)}), spec.Stdin)
		err = process.start(ctx, command, raw, files)
	}
	if said, refused := errors.AsType[runsc.SentryError](err); refused {
		err = errdefs.ErrInvalidArgument.WithMessage(string(said)) // there is no such folder
	}
	if err != nil {
		process.copies.Cancel()
		_ = process.copies.Close()
		return nil, fmt.Errorf("start process: %w", err)
	}
	p.pid = process.pid
	s.starter.work.Go(process.watch)
	s.starter.work.Go(func() { process.copies.feed(spec.Stdin) })
	return p, nil
}

// looksElsewhere tells whether a command is looked for in its own folder too, which its PATH leads to: the sentry leaves that out.
func looksElsewhere(command *specs.Process) bool {
	if len(command.Args) == 0 || strings.Contains(command.Args[0], "/") {
		return false
	}
	for _, entry := range slices.Backward(command.Env) { // the last of a name counts
		if list, ok := strings.CutPrefix(entry, "PATH="); ok {
			return slices.ContainsFunc(strings.Split(list, ":"), func(dir string) bool { return !path.IsAbs(dir) })
		}
	}
	return false
}

// start has the sentry start the process. One that is started only after ctx ended is killed at once.
func (p *sentryProcess) start(ctx context.Context, command *specs.Process, raw bool, files []*os.File) error {
	control, err := p.in.Sentry()
	if err != nil {
		return err
	}
	start, err := control.Execute(ctx, command, raw, files)
	if err != nil {
		return err
	}
	started := make(chan error)
	p.in.starter.work.Go(func() {
		var err error
		p.pid, err = start.PID(p.in.starter.life)
		select {
		case started <- err:
		case <-ctx.Done():
			if err == nil {
				_ = p.signal(p.in.starter.life, syscall.SIGKILL)
			}
		}
	})
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch waits for the end of the process, which is that of its sentry at the latest.
func (p *sentryProcess) watch() {
	var wait syscall.WaitStatus
	control, err := p.in.Sentry()
	if err == nil {
		wait, err = control.Wait(p.in.starter.life, p.pid)
	}
	_ = p.copies.stdin.Close() // nobody reads it, or a child that the caller does not feed
	if context.Cause(p.in.starter.life) != nil {
		p.copies.Cancel()
	}
	switch {
	case errors.Is(err, runsc.ErrSentryGone):
		p.end(128+int(syscall.SIGKILL), nil)
	case err != nil:
		p.end(0, err)
	case wait.Signaled():
		p.end(128+int(wait.Signal()), nil)
	default:
		p.end(wait.ExitStatus(), nil)
	}
}

func (p *sentryProcess) signal(ctx context.Context, signal syscall.Signal) error {
	if !p.hasEnded() {
		control, err := p.in.Sentry()
		if err == nil {
			err = control.Signal(ctx, p.pid, signal, runsc.ToProcess)
		}
		if err == nil || !p.hasEnded() {
			return err
		}
	}
	return errdefs.ErrNotFound.WithMessage("the process has ended")
}

// resize is never asked for: a process with a terminal is the shim's.
func (p *sentryProcess) resize(context.Context, uint16, uint16) error {
	return errdefs.ErrInvalidArgument.WithMessage("the process has no terminal")
}

// forget has nothing to do: the sentry forgot the process when its end was waited for.
func (p *sentryProcess) forget(context.Context) error { return nil }

func (p *sentryProcess) streams() streams { return &p.copies }

// copies carry a process's input and output through pipes.
type copies struct {
	stdin   *os.File
	outputs []*os.File
	writers sync.WaitGroup
}

// open makes the pipes, returns the ends that the process gets, and starts to copy its output.
func (c *copies) open(s *Starter, stdout, stderr io.Writer) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			_ = c.Close()
		}
	}()
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.stdin, files = stdin, []*os.File{in}
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return files, err
		}
		c.outputs, files = append(c.outputs, r), append(files, w)
	}
	for i, to := range []io.Writer{stdout, stderr} {
		c.writers.Add(1)
		s.work.Go(func() {
			defer c.writers.Done()
			_, _ = io.Copy(to, c.outputs[i])
		})
	}
	return files, nil
}

// The sizes of the pipes of a command that carries much, in bytes: each time that one is full or empty costs a change of processes. Output keeps
// below drainBytes.
const (
	wideInput  = 1 << 20
	wideOutput = 256 << 10
	wideDoor   = 256 << 10 // each way
)

// widen makes more room in the pipes.
func (c *copies) widen() {
	widen(c.stdin, wideInput)
	widen(c.outputs[0], wideOutput)
}

// widen makes more room in a pipe. One that stays as it is, since the user has too much in pipes, is slower and no more.
func widen(pipe *os.File, size int) {
	if raw, err := pipe.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size) })
	}
}

// feed copies the process's input until that ends.
func (c *copies) feed(from io.Reader) { feed(c.stdin, from) }

// feed copies input until it ends. What a process does not take, since it has closed its input or has ended, is dropped: who
// sends it may have more to say.
func feed(to io.WriteCloser, from io.Reader) {
	_, err := io.Copy(to, from)
	_ = to.Close()
	if err != nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

func (c *copies) Wait() { c.writers.Wait() }

func (c *copies) Cancel() {
	for _, f := range c.outputs {
		_ = f.SetReadDeadline(time.Unix(1, 0)) // long past: what reads ends
	}
}

func (c *copies) Close() error {
	closeAll(c.outputs)
	if c.stdin == nil {
		return nil
	}
	return c.stdin.Close()
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
