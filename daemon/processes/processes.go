// Package processes puts the processes of sandboxes into the API's words, and joins them to their clients.
package processes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"syscall"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime"
	"sandpool/runtime/supervisor"
)

// killTimeout is how long a process's end may take to be asked for when its client has gone.
const killTimeout = 10 * time.Second

// Command is what a request asks to be run.
func Command(body wire.ExecRequest) supervisor.Command {
	command := supervisor.Command{
		Args: body.Args, Env: body.Env, Folder: body.Cwd, User: body.User, TTY: body.TTY, Rows: body.Rows, Cols: body.Cols, Input: body.TTY,
	}
	if body.Timeout != nil {
		command.Timeout = body.Timeout.Std()
	}
	for _, name := range slices.Sorted(maps.Keys(body.Rlimits)) {
		command.Limits = append(command.Limits, name+"="+body.Rlimits[name])
	}
	return command
}

// Copy sends output between two positions, and returns the process if it ended before the second.
func Copy(ctx context.Context, f *supervisor.Follower, at, until int64, send func(wire.ProcessOutput) error) (*supervisor.Process, error) {
	for at < until {
		out, ended, err := f.Next(ctx)
		if err != nil || ended != nil {
			return ended, err
		}
		line := wire.ProcessOutput{Position: out.Position, Stream: outputStreams[out.From], Data: out.Data, Dropped: out.Position - at}
		if err := send(line); err != nil {
			return nil, fmt.Errorf("send output: %w", err)
		}
		at = out.Position + int64(len(out.Data))
	}
	return nil, nil //nolint:nilnil // it lives
}

// Supervisor is what a client's process is reached by; see supervisor.Conn.
type Supervisor interface {
	Resize(ctx context.Context, pid int, rows, cols uint16) error
	Signal(ctx context.Context, pid int, signal syscall.Signal) error
	Input(ctx context.Context, pid int, data []byte) error
	EndInput(ctx context.Context, pid int) error
}

// Run starts a process that is its client's, and ends with it. One that cannot be run says why on its errors, and ends with what shells have for that.
func Run(ctx context.Context, of runtime.Processes, command supervisor.Command, spec runtime.ExecSpec) (Process, error) {
	p, follower, err := of.Run(ctx, command)
	if failed, ok := errors.AsType[*supervisor.Failure](err); ok && failed.Code > 0 {
		to, end := spec.Stderr, "\n"
		if command.TTY {
			to, end = spec.Stdout, "\r\n"
		}
		_, err = io.WriteString(to, "sandpool-init: "+failed.Text+end)
		return notRun(failed.Code), err
	}
	if err != nil {
		return nil, err
	}
	spec.TTY = command.TTY
	return attach(of, p.PID, follower, spec, true), nil
}

// notRun is a process that never began, as its exit code.
type notRun int

func (notRun) Resize(context.Context, uint16, uint16) error { return nil }

func (notRun) Signal(context.Context, syscall.Signal) error { return nil }

func (n notRun) Wait(context.Context) (int, error) { return int(n), nil }

// attached is a process that a client follows, and may feed, until it leaves.
type attached struct {
	of       Supervisor
	pid      int
	follower *supervisor.Follower
	spec     runtime.ExecSpec
	owned    bool // it ends with its client
	unfeed   context.CancelFunc
}

// Attach joins a process to a client, and leaves it as it is when the client leaves.
func Attach(of Supervisor, pid int, f *supervisor.Follower, spec runtime.ExecSpec) Process {
	return attach(of, pid, f, spec, false)
}

// attach begins to feed the process, if there is anything for it. That ends with Wait and the end of the input, which is not far behind.
func attach(of Supervisor, pid int, f *supervisor.Follower, spec runtime.ExecSpec, owned bool) Process {
	ctx, unfeed := context.WithCancel(context.Background())
	p := &attached{of, pid, f, spec, owned, unfeed}
	if spec.Stdin != nil {
		go p.feed(ctx)
	}
	return p
}

// Resize tells the process how large its terminal is.
func (p *attached) Resize(ctx context.Context, rows, cols uint16) error {
	return p.of.Resize(ctx, p.pid, rows, cols)
}

// Signal signals the process's group.
func (p *attached) Signal(ctx context.Context, signal syscall.Signal) error {
	return p.of.Signal(ctx, p.pid, signal)
}

// Wait passes output on until the process has ended, or ctx.
func (p *attached) Wait(ctx context.Context) (code int, err error) {
	defer p.unfeed()
	defer p.follower.Close()
	defer func() {
		if err != nil && p.owned {
			Kill(ctx, p.of, p.pid)
		}
	}()
	for {
		out, ended, err := p.follower.Next(ctx)
		switch {
		case err != nil:
			return 0, err
		case ended != nil:
			return ended.Code, nil
		}
		to := p.spec.Stdout
		if out.From == supervisor.Stderr {
			to = p.spec.Stderr
		}
		if _, err := to.Write(out.Data); err != nil {
			return 0, err
		}
	}
}

// Kill kills all of a process's session, also when ctx has ended.
func Kill(ctx context.Context, of Supervisor, pid int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	_ = of.Signal(ctx, pid, syscall.SIGKILL) // it may have ended, and with it its sandbox
}

// feed passes input on until it ends. What the process does not take is dropped: of a pipe all that follows, too, but a terminal's next key may make room.
func (p *attached) feed(ctx context.Context) {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.spec.Stdin.Read(buf)
		if n > 0 && p.of.Input(ctx, p.pid, buf[:n]) != nil && !p.spec.TTY {
			_, _ = io.Copy(io.Discard, p.spec.Stdin)
			return
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = p.of.EndInput(ctx, p.pid)
			}
			return
		}
	}
}

var outputStreams = map[byte]wire.OutputStream{
	supervisor.Stdout: wire.OutputStdout, supervisor.Stderr: wire.OutputStderr, supervisor.Terminal: wire.OutputTerminal,
}

// Wire is a process in the API's words. Nobody has looked yet at one that was just started.
func Wire(p supervisor.Process) wire.Process {
	process := wire.Process{
		PID: p.PID, Args: p.Args, User: p.User, State: cmp.Or(p.State, "R"), Supervised: p.Supervised, TTY: p.TTY, Input: p.Input, StartedAt: p.Started, TimedOut: p.TimedOut,
		CPUMS: wire.Milliseconds(p.CPU), MemoryBytes: p.Memory, OutputFirst: p.First, OutputNext: p.Next,
	}
	if process.Args == nil {
		process.Args = []string{}
	}
	if p.Ended {
		process.State, process.EndedAt, process.ExitCode = "ended", &p.Stopped, &p.Code
	}
	return process
}
