package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/supervisor"
)

const (
	maxUser = 256 // bytes of a user's name
	maxPID  = 1<<31 - 1
	// killTimeout is how long a process's end may take to be asked for when its client has gone.
	killTimeout = 10 * time.Second
)

// inside does something with the processes of the claim that the path names, whose sandbox is awake meanwhile.
func (a *api) inside(do func(http.ResponseWriter, *http.Request, runtime.Processes) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		claim, err := a.find(r)
		if err != nil {
			return err
		}
		claim, done, err := a.use(r, claim)
		if err != nil {
			return err
		}
		defer done()
		processes, err := a.Processes(r.Context(), claim.Sandbox)
		if err == nil {
			err = do(w, r, processes)
		}
		if err != nil {
			if lost := a.lost(claim); lost != nil {
				return lost
			}
		}
		return err
	}
}

// ofProcess is inside with the process that the path names.
func (a *api) ofProcess(do func(http.ResponseWriter, *http.Request, runtime.Processes, int) error) handler {
	return a.inside(func(w http.ResponseWriter, r *http.Request, processes runtime.Processes) error {
		pid, err := strconv.Atoi(r.PathValue("pid"))
		if err != nil || pid < 1 || pid > maxPID {
			return invalid("process id %.64q: want a number of the sandbox's processes", r.PathValue("pid"))
		}
		return do(w, r, processes, pid)
	})
}

func (a *api) startProcess(w http.ResponseWriter, r *http.Request) error {
	var body wire.ProcessRequest
	if err := a.decodeExec(w, r, &body); err != nil {
		return err
	}
	if err := checkExec(body.ExecRequest); err != nil {
		return err
	}
	command := supervisedCommand(body.ExecRequest)
	command.Input = command.Input || body.Input
	return a.inside(func(w http.ResponseWriter, r *http.Request, processes runtime.Processes) error {
		p, err := processes.Start(r.Context(), command)
		if err != nil {
			return err
		}
		return answerJSON(w, http.StatusCreated, wireProcess(p))
	})(w, r)
}

func supervisedCommand(body wire.ExecRequest) runtime.SupervisedCommand {
	command := runtime.SupervisedCommand{
		Args: body.Args, Env: body.Env, Folder: body.Cwd, User: body.User, TTY: body.TTY, Rows: body.Rows, Cols: body.Cols, Input: body.TTY,
	}
	if body.Timeout != nil {
		command.Timeout = body.Timeout.Std()
	}
	return command
}

// execSupervised runs a command by process 1, which only can make it another user's and end it in time.
func (a *api) execSupervised(w http.ResponseWriter, r *http.Request, claim pool.Claim, body wire.ExecRequest) error {
	processes, err := a.Processes(r.Context(), claim.Sandbox)
	if err != nil {
		return err
	}
	command := supervisedCommand(body)
	command.Input = true
	return a.converse(w, r, claim, func(spec runtime.ExecSpec) (Process, error) {
		p, f, err := processes.Run(r.Context(), command)
		if err != nil {
			return nil, err
		}
		one := &attached{Processes: processes, pid: p.PID, follower: f, spec: spec, owned: true}
		go one.feed(context.WithoutCancel(r.Context()))
		return one, nil
	})
}

func (a *api) listProcesses(w http.ResponseWriter, r *http.Request, processes runtime.Processes) error {
	all, err := processes.List(r.Context())
	if err != nil {
		return err
	}
	list := wire.ProcessList{Processes: []wire.Process{}}
	for _, p := range all {
		list.Processes = append(list.Processes, wireProcess(p))
	}
	return answerJSON(w, http.StatusOK, list)
}

func (a *api) getProcess(w http.ResponseWriter, r *http.Request, processes runtime.Processes, pid int) error {
	p, err := processes.Get(r.Context(), pid)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, wireProcess(p))
}

func (a *api) signalProcess(w http.ResponseWriter, r *http.Request, processes runtime.Processes, pid int) error {
	var body wire.SignalRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if body.Signal < 1 || body.Signal > maxSignal {
		return invalid("signal: %d: want 1 to %d", body.Signal, maxSignal)
	}
	return noContent(w, processes.Signal(r.Context(), pid, syscall.Signal(body.Signal)))
}

func (a *api) resizeProcess(w http.ResponseWriter, r *http.Request, processes runtime.Processes, pid int) error {
	var body wire.ResizeRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	return noContent(w, processes.Resize(r.Context(), pid, body.Rows, body.Cols))
}

// feedProcess gives a process the body as input; an empty one ends its input.
func (a *api) feedProcess(w http.ResponseWriter, r *http.Request, processes runtime.Processes, pid int) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	if err != nil {
		return badBody(err)
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear read deadline: %w", err)
	}
	if len(data) == 0 {
		return noContent(w, processes.EndInput(r.Context(), pid))
	}
	return noContent(w, processes.Input(r.Context(), pid, data))
}

func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// outputQuery reads from which position on output is wanted, and whether what comes later, too.
func outputQuery(r *http.Request) (since int64, follow bool, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, false, invalid("query: %v", err)
	}
	for key, values := range query {
		value := values[len(values)-1]
		switch key {
		case "since":
			if since, err = strconv.ParseInt(value, 10, 64); err != nil || since < 0 {
				return 0, false, invalid("since: %.64q: want a position, from 0 on", value)
			}
		case "follow":
			if follow, err = strconv.ParseBool(value); err != nil {
				return 0, false, invalid("follow: %.64q: want true or false", value)
			}
		default:
			return 0, false, invalid("query: unknown parameter %.64q", key)
		}
	}
	return since, follow, nil
}

// processOutput sends what a process wrote, as lines of JSON: what is kept and, with follow, what comes until its end.
func (a *api) processOutput(w http.ResponseWriter, r *http.Request, processes runtime.Processes, pid int) error {
	since, follow, err := outputQuery(r)
	if err != nil {
		return err
	}
	who, _ := actorOf(r.Context())
	leave, err := a.crowd.followers.take(who)
	if err != nil {
		return err
	}
	defer leave()
	p, err := processes.Get(r.Context(), pid)
	if err != nil {
		return err
	}
	f, err := processes.Follow(r.Context(), pid, since)
	if err != nil {
		return err
	}
	defer f.Close()
	until := int64(math.MaxInt64)
	if !follow && !p.Ended {
		until = p.Next
	}
	ctx, cancel := a.untilStopping(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	last := wire.ProcessOutput{Position: p.Next, Process: new(wireProcess(p))}
	if ended, err := sendOutput(ctx, w, f, since, until); err != nil {
		last = wire.ProcessOutput{Error: a.report(r, err)} // an answer that has begun can tell no other way
	} else if ended != nil {
		last = wire.ProcessOutput{Position: ended.Next, Process: new(wireProcess(*ended))}
	}
	if err := sendLines(w, []wire.ProcessOutput{last}); err != nil {
		a.Log.Debug("output could not be sent", "err", err)
	}
	return nil
}

// untilStopping ends when ctx does, and when the daemon begins to stop.
func (a *api) untilStopping(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-a.Stopping:
			cancel(errStopping)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// sendOutput sends output between two positions, and returns the process if it ended before the second.
func sendOutput(ctx context.Context, w http.ResponseWriter, f *runtime.Follower, at, until int64) (*runtime.Supervised, error) {
	for at < until {
		out, ended, err := f.Next(ctx)
		if err != nil || ended != nil {
			return ended, err
		}
		line := wire.ProcessOutput{Position: out.Position, Stream: outputStreams[out.From], Data: out.Data, Dropped: out.Position - at}
		if err := sendLines(w, []wire.ProcessOutput{line}); err != nil {
			return nil, fmt.Errorf("send output: %w", err)
		}
		at = out.Position + int64(len(out.Data))
	}
	return nil, nil //nolint:nilnil // it lives
}

// attachProcess carries a process's output and input as frames, as exec does. A client that hangs up leaves the process as it is.
func (a *api) attachProcess(w http.ResponseWriter, r *http.Request, processes runtime.Processes, pid int) error {
	since, _, err := outputQuery(r)
	if err != nil {
		return err
	}
	if !wantsUpgrade(r.Header) {
		return errUpgrade
	}
	who, _ := actorOf(r.Context())
	leave, err := a.crowd.execs.take(who)
	if err != nil {
		return err
	}
	defer leave()
	f, err := processes.Follow(r.Context(), pid, since)
	if err != nil {
		return err
	}
	claim, err := a.find(r)
	if err != nil {
		f.Close()
		return err
	}
	return a.converse(w, r, claim, func(spec runtime.ExecSpec) (Process, error) {
		p := &attached{Processes: processes, pid: pid, follower: f, spec: spec}
		go p.feed(r.Context())
		return p, nil
	})
}

// attached is a process that a client follows, and may feed, until it leaves.
type attached struct {
	runtime.Processes
	pid      int
	follower *runtime.Follower
	spec     runtime.ExecSpec
	owned    bool // it ends with its client
}

func (p *attached) Resize(ctx context.Context, rows, cols uint16) error {
	return p.Processes.Resize(ctx, p.pid, rows, cols)
}

func (p *attached) Signal(ctx context.Context, signal syscall.Signal) error {
	return p.Processes.Signal(ctx, p.pid, signal)
}

// Wait passes output on until the process has ended, or ctx.
func (p *attached) Wait(ctx context.Context) (code int, err error) {
	defer p.follower.Close()
	defer func() {
		if err != nil && p.owned {
			p.kill(ctx)
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

// kill kills all of the process's session.
func (p *attached) kill(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	_ = p.Processes.Signal(ctx, p.pid, syscall.SIGKILL) // it may have ended, and with it its sandbox
}

// feed passes input on until it ends. What the process does not take is dropped.
func (p *attached) feed(ctx context.Context) {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.spec.Stdin.Read(buf)
		if n > 0 && p.Input(ctx, p.pid, buf[:n]) != nil {
			_, _ = io.Copy(io.Discard, p.spec.Stdin)
			return
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = p.EndInput(ctx, p.pid)
			}
			return
		}
	}
}

var outputStreams = map[byte]wire.OutputStream{
	supervisor.Stdout: wire.OutputStdout, supervisor.Stderr: wire.OutputStderr, supervisor.Terminal: wire.OutputTerminal,
}

// wireProcess is a process in the API's words.
func wireProcess(p runtime.Supervised) wire.Process {
	process := wire.Process{
		PID: p.PID, Args: p.Args, User: p.User, State: p.State, Supervised: p.Supervised, TTY: p.TTY, Input: p.Input, StartedAt: p.Started, TimedOut: p.TimedOut,
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
