package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// sentryProcess is a process that its sandbox's sentry started for the daemon itself. Nobody else knows of it, and it ends with
// its sandbox.
type sentryProcess struct {
	engine *Engine
	id     string // of the sandbox
	pid    int32
	copies copies
	ended  atomic.Bool
	exited chan struct{} // closed when code and err are set
	code   int
	err    error
}

// The arguments of the sentry's methods are JSON with the names that runsc gives them.
type (
	sentryExec struct {
		Argv             []string `json:"argv"`
		Envv             []string `json:"envv"`
		WorkingDirectory string   `json:"wd"`
		KUID, KGID       uint32
		ExtraKGIDs       []uint32
		NoNewPrivileges  bool
		Capabilities     capabilitySets
		GuestFDs         []int // what the files are in the process
		ContainerID      string
	}
	capabilitySets struct {
		PermittedCaps, InheritableCaps, EffectiveCaps, BoundingCaps, AmbientCaps uint64
	}
	sentryWait struct {
		PID int32
		CID string
	}
	sentrySignal struct {
		CID   string
		Signo syscall.Signal
		PID   int32
		Mode  int // 0: to this process only
	}
)

// tryDirectly finds out whether this runsc's sentries start processes for the daemon itself, in a sandbox that runs. If not, the
// shim does.
func (e *Engine) tryDirectly(ctx context.Context, id string) {
	e.direct = true
	err := e.call(ctx, e.cfg.PauseTimeout, "exec without the shim", func(ctx context.Context) error { return e.probe(ctx, id, &tail{}) })
	if err != nil && context.Cause(ctx) == nil {
		e.direct = false
		e.warn(fmt.Sprintf("commands in sandboxes start slowly, since only the shim can start them: %v", err))
	}
}

func (e *Engine) execDirectly(ctx context.Context, id string, command *specs.Process, spec ExecSpec) (*Process, error) {
	file, err := readShimFile(e.cfg.sandboxFile(id, shimSuffix))
	if err != nil {
		return nil, err
	}
	args := directArgs(id, command, file.RunscFlags["net-raw"] == "true")
	process := &sentryProcess{engine: e, id: id, exited: make(chan struct{})}
	p := &Process{body: process, engine: e, id: id}
	files, err := process.copies.open(meteredWriter{spec.Stdout, &p.output}, meteredWriter{spec.Stderr, &p.output})
	if err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	defer closeAll(files)
	err = process.start(ctx, args, files)
	if _, refused := errors.AsType[sentryError](err); refused {
		// Of a program that cannot be run the init tells more, and in a shell's way.
		args.Argv, spec.Stdin = gated(args.Argv), io.MultiReader(bytes.NewReader([]byte{leaveByte(false)}), spec.Stdin)
		err = process.start(ctx, args, files)
	}
	if said, refused := errors.AsType[sentryError](err); refused {
		err = errdefs.ErrInvalidArgument.WithMessage(string(said)) // there is no such folder
	}
	if err != nil {
		process.copies.Cancel()
		_ = process.copies.Close()
		return nil, fmt.Errorf("start process: %w", err)
	}
	go process.watch(context.WithoutCancel(ctx))
	process.copies.feed(spec.Stdin)
	return p, nil
}

// start has the sentry start the process. One that is started only after ctx ended is killed at once.
func (p *sentryProcess) start(ctx context.Context, args sentryExec, files []*os.File) error {
	conn, err := p.engine.dialSentry(ctx, p.id)
	if err != nil {
		return err
	}
	if err := send(ctx, conn, "containerManager.ExecuteAsync", args, files); err != nil {
		_ = conn.Close()
		return err
	}
	started := make(chan error, 1)
	go func() {
		started <- receive(conn, &p.pid)
		_ = conn.Close()
	}()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
		go func() {
			if <-started == nil {
				_ = p.signal(context.WithoutCancel(ctx), syscall.SIGKILL)
			}
		}()
		return context.Cause(ctx)
	}
}

func directArgs(id string, process *specs.Process, raw bool) sentryExec {
	return sentryExec{
		Argv: process.Args, Envv: process.Env, WorkingDirectory: process.Cwd,
		KUID: process.User.UID, KGID: process.User.GID, ExtraKGIDs: process.User.AdditionalGids,
		NoNewPrivileges: process.NoNewPrivileges, Capabilities: setsOf(process.Capabilities, raw),
		GuestFDs: []int{0, 1, 2}, ContainerID: id,
	}
}

// setsOf encodes capabilities, without that for raw sockets unless raw is true, as runsc starts sandboxes.
func setsOf(caps *specs.LinuxCapabilities, raw bool) capabilitySets {
	if caps == nil {
		return capabilitySets{}
	}
	set := func(names []string) (bits uint64) {
		for _, c := range capability.ListKnown() {
			for _, name := range names {
				if strings.EqualFold(name, "CAP_"+c.String()) && (raw || c != capability.CAP_NET_RAW) {
					bits |= 1 << c
				}
			}
		}
		return bits
	}
	return capabilitySets{set(caps.Permitted), set(caps.Inheritable), set(caps.Effective), set(caps.Bounding), set(caps.Ambient)}
}

// watch waits for the end of the process, which is that of its sentry at the latest.
func (p *sentryProcess) watch(ctx context.Context) {
	var status uint32
	err := p.engine.askSentry(ctx, p.id, "containerManager.WaitPID", sentryWait{p.pid, p.id}, &status)
	p.ended.Store(true)
	switch wait := syscall.WaitStatus(status); {
	case errors.Is(err, errSentryGone):
		p.code = 128 + int(syscall.SIGKILL)
	case err != nil:
		p.err = err
	case wait.Signaled():
		p.code = 128 + int(wait.Signal())
	default:
		p.code = wait.ExitStatus()
	}
	close(p.exited)
}

func (p *sentryProcess) await(ctx context.Context) (int, error) {
	select {
	case <-p.exited:
		return p.code, p.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (p *sentryProcess) signal(ctx context.Context, signal syscall.Signal) error {
	if !p.ended.Load() {
		err := p.engine.askSentry(ctx, p.id, "containerManager.Signal", sentrySignal{CID: p.id, Signo: signal, PID: p.pid}, nil)
		if err == nil || !p.ended.Load() {
			return err
		}
	}
	return errdefs.ErrNotFound.WithMessage("the process has ended")
}

// resize is never asked for: a process with a terminal is the shim's.
func (p *sentryProcess) resize(context.Context, uint16, uint16) error {
	return errdefs.ErrInvalidArgument.WithMessage("the process has no terminal")
}

func (p *sentryProcess) forget(ctx context.Context) error {
	if p.ended.Load() {
		return nil
	}
	err := p.signal(ctx, syscall.SIGKILL)
	if err != nil && !errdefs.IsNotFound(err) && !errors.Is(err, errSentryGone) {
		return err
	}
	_, err = p.await(ctx)
	return err
}

func (p *sentryProcess) streams() streams { return &p.copies }

// copies carry a process's input and output through pipes.
type copies struct {
	stdin   *os.File
	outputs []*os.File
	writers sync.WaitGroup
}

// open makes the pipes, returns the ends that the process gets, and starts to copy its output.
func (c *copies) open(stdout, stderr io.Writer) (files []*os.File, err error) {
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
		c.writers.Go(func() { _, _ = io.Copy(to, c.outputs[i]) })
	}
	return files, nil
}

// feed copies the process's input until that ends or the process does.
func (c *copies) feed(from io.Reader) {
	go func() {
		_, _ = io.Copy(c.stdin, from)
		_ = c.stdin.Close()
	}()
}

func (c *copies) Wait() { c.writers.Wait() }

func (c *copies) Cancel() {
	for _, f := range c.outputs {
		_ = f.SetReadDeadline(longPast)
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
