package api

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
)

// maxPID is the highest number of a process that any kernel gives.
const maxPID = 1<<31 - 1

// within is what a request about processes is about.
type within struct {
	runtime.Processes

	claim pool.Claim
	pid   int // 0: none in particular
}

// inside does something with the processes of the claim that the path names, whose sandbox is awake meanwhile.
func (a *api) inside(do func(http.ResponseWriter, *http.Request, within) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		pid, err := processOf(r)
		if err != nil {
			return err
		}
		claim, err := a.find(r)
		if err != nil {
			return err
		}
		claim, done, err := a.use(r, claim)
		if err != nil {
			return err
		}
		defer done()
		of, err := a.Processes(r.Context(), claim.Sandbox)
		if err == nil {
			err = do(w, r, within{of, claim, pid})
		}
		if err != nil {
			return cmp.Or(a.lost(claim), err)
		}
		return nil
	}
}

// processOf returns the number of the process that the path names, 0 if it names none.
func processOf(r *http.Request) (int, error) {
	text := r.PathValue("pid")
	if text == "" {
		return 0, nil
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid < 1 || pid > maxPID {
		return 0, invalid("process id %.64q: want a number of the sandbox's processes", text)
	}
	return pid, nil
}

func (a *api) startProcess(w http.ResponseWriter, r *http.Request) error {
	var body wire.ProcessRequest
	if err := a.decodeExec(w, r, &body); err != nil {
		return err
	}
	if err := processes.Check(body.ExecRequest); err != nil {
		return err
	}
	command := processes.Command(body.ExecRequest)
	command.Input = command.Input || body.Input
	return a.inside(func(w http.ResponseWriter, r *http.Request, in within) error {
		p, err := in.Start(r.Context(), command)
		if err != nil {
			return err
		}
		if err := answerJSON(w, http.StatusCreated, processes.Wire(p)); err != nil { // nobody knows of it
			processes.Kill(r.Context(), in, p.PID)
		}
		return nil
	})(w, r)
}

// execSupervised has process 1 run a command.
func (a *api) execSupervised(w http.ResponseWriter, r *http.Request, claim pool.Claim, of runtime.Processes, body wire.ExecRequest) error {
	command := processes.Command(body)
	command.Input = true
	return a.converse(w, r, claim, func(spec runtime.ExecSpec) (processes.Process, error) {
		return processes.Run(r.Context(), of, command, spec)
	})
}

func (a *api) listProcesses(w http.ResponseWriter, r *http.Request, in within) error {
	all, err := in.List(r.Context())
	if err != nil {
		return err
	}
	list := wire.ProcessList{Processes: []wire.Process{}}
	for _, p := range all {
		list.Processes = append(list.Processes, processes.Wire(p))
	}
	return answerJSON(w, http.StatusOK, list)
}

func (a *api) getProcess(w http.ResponseWriter, r *http.Request, in within) error {
	p, err := in.Get(r.Context(), in.pid)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, processes.Wire(p))
}

func (a *api) signalProcess(w http.ResponseWriter, r *http.Request, in within) error {
	var body wire.SignalRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if body.Signal < 1 || body.Signal > processes.MaxSignal {
		return invalid("signal: %d: want 1 to %d", body.Signal, processes.MaxSignal)
	}
	return noContent(w, in.Signal(r.Context(), in.pid, syscall.Signal(body.Signal)))
}

func (a *api) resizeProcess(w http.ResponseWriter, r *http.Request, in within) error {
	var body wire.ResizeRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	return noContent(w, in.Resize(r.Context(), in.pid, body.Rows, body.Cols))
}

// feedProcess gives a process the body as input; an empty one ends its input.
func (a *api) feedProcess(w http.ResponseWriter, r *http.Request, in within) error {
	data, err := readBody(wire.MaxBody, w, r)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return noContent(w, in.EndInput(r.Context(), in.pid))
	}
	return noContent(w, in.Input(r.Context(), in.pid, data))
}

func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// outputQuery reads from which position on output is wanted and, where that can be asked for, whether what comes later, too.
func outputQuery(r *http.Request, mayFollow bool) (since int64, follow bool, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, false, invalid("query: %v", err)
	}
	for key, values := range query {
		value := values[len(values)-1]
		switch {
		case key == "since":
			if since, err = strconv.ParseInt(value, 10, 64); err != nil || since < 0 {
				return 0, false, invalid("since: %.64q: want a position, from 0 on", value)
			}
		case key == "follow" && mayFollow:
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
func (a *api) processOutput(w http.ResponseWriter, r *http.Request, in within) error {
	since, follow, err := outputQuery(r, true)
	if err != nil {
		return err
	}
	who, _ := actorOf(r.Context())
	leave, err := a.crowd.followers.take(who)
	if err != nil {
		return err
	}
	defer leave()
	f, err := in.Follow(in.pid, since) // its first output comes while the process is looked at
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := in.Get(r.Context(), in.pid)
	if err != nil {
		return err
	}
	until := int64(math.MaxInt64)
	if !follow && !p.Ended {
		until = p.Next
	}
	ctx, cancel := a.untilStopping(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	var unsent error // an answer that has begun cannot tell it
	send := func(line wire.ProcessOutput) error {
		unsent = sendLines(w, []wire.ProcessOutput{line})
		return unsent
	}
	ended, err := processes.Copy(ctx, f, since, until, send)
	switch {
	case unsent != nil:
	case err != nil:
		_ = send(wire.ProcessOutput{Error: a.report(r, err)})
	case ended != nil:
		_ = send(wire.ProcessOutput{Position: ended.Next, Process: new(processes.Wire(*ended))})
	default:
		_ = send(wire.ProcessOutput{Position: p.Next, Process: new(processes.Wire(p))})
	}
	if unsent != nil {
		a.Log.Debug("output could not be sent", "err", unsent)
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

// attachProcess carries a process's output and input as frames, as exec does. A client that hangs up leaves the process as it is.
func (a *api) attachProcess(w http.ResponseWriter, r *http.Request, in within) error {
	since, _, err := outputQuery(r, false)
	if err != nil {
		return err
	}
	leave, err := a.admitStream(r)
	if err != nil {
		return err
	}
	defer leave()
	p, err := in.Get(r.Context(), in.pid)
	if err != nil {
		return err // while it can be said by a status
	}
	return a.converse(w, r, in.claim, func(spec runtime.ExecSpec) (processes.Process, error) {
		f, err := in.Follow(in.pid, since)
		if err != nil {
			return nil, err
		}
		spec.TTY = p.TTY
		return processes.Attach(in, in.pid, f, spec), nil
	})
}
