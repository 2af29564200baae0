package api

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
)

const (
	maxPID = 1<<31 - 1
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
		of, err := a.Processes(r.Context(), claim.Sandbox)
		if err == nil {
			err = do(w, r, of)
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
	return a.inside(func(w http.ResponseWriter, r *http.Request, of runtime.Processes) error {
		pid, err := strconv.Atoi(r.PathValue("pid"))
		if err != nil || pid < 1 || pid > maxPID {
			return invalid("process id %.64q: want a number of the sandbox's processes", r.PathValue("pid"))
		}
		return do(w, r, of, pid)
	})
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
	return a.inside(func(w http.ResponseWriter, r *http.Request, of runtime.Processes) error {
		p, err := of.Start(r.Context(), command)
		if err != nil {
			return err
		}
		return answerJSON(w, http.StatusCreated, processes.Wire(p))
	})(w, r)
}

// execSupervised runs a command by process 1, which only can make it another user's and end it in time.
func (a *api) execSupervised(w http.ResponseWriter, r *http.Request, claim pool.Claim, body wire.ExecRequest) error {
	of, err := a.Processes(r.Context(), claim.Sandbox)
	if err != nil {
		return err
	}
	command := processes.Command(body)
	command.Input = true
	return a.converse(w, r, claim, func(spec runtime.ExecSpec) (processes.Process, error) {
		p, f, err := of.Run(r.Context(), command)
		if err != nil {
			return nil, err
		}
		return processes.Own(context.WithoutCancel(r.Context()), of, p.PID, f, spec), nil
	})
}

func (a *api) listProcesses(w http.ResponseWriter, r *http.Request, of runtime.Processes) error {
	all, err := of.List(r.Context())
	if err != nil {
		return err
	}
	list := wire.ProcessList{Processes: []wire.Process{}}
	for _, p := range all {
		list.Processes = append(list.Processes, processes.Wire(p))
	}
	return answerJSON(w, http.StatusOK, list)
}

func (a *api) getProcess(w http.ResponseWriter, r *http.Request, of runtime.Processes, pid int) error {
	p, err := of.Get(r.Context(), pid)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, processes.Wire(p))
}

func (a *api) signalProcess(w http.ResponseWriter, r *http.Request, of runtime.Processes, pid int) error {
	var body wire.SignalRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if body.Signal < 1 || body.Signal > processes.MaxSignal {
		return invalid("signal: %d: want 1 to %d", body.Signal, processes.MaxSignal)
	}
	return noContent(w, of.Signal(r.Context(), pid, syscall.Signal(body.Signal)))
}

func (a *api) resizeProcess(w http.ResponseWriter, r *http.Request, of runtime.Processes, pid int) error {
	var body wire.ResizeRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	return noContent(w, of.Resize(r.Context(), pid, body.Rows, body.Cols))
}

// feedProcess gives a process the body as input; an empty one ends its input.
func (a *api) feedProcess(w http.ResponseWriter, r *http.Request, of runtime.Processes, pid int) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	if err != nil {
		return badBody(err)
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear read deadline: %w", err)
	}
	if len(data) == 0 {
		return noContent(w, of.EndInput(r.Context(), pid))
	}
	return noContent(w, of.Input(r.Context(), pid, data))
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
func (a *api) processOutput(w http.ResponseWriter, r *http.Request, of runtime.Processes, pid int) error {
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
	p, err := of.Get(r.Context(), pid)
	if err != nil {
		return err
	}
	f, err := of.Follow(r.Context(), pid, since)
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
	last := wire.ProcessOutput{Position: p.Next, Process: new(processes.Wire(p))}
	if ended, err := processes.Copy(ctx, f, since, until, func(line wire.ProcessOutput) error { return sendLines(w, []wire.ProcessOutput{line}) }); err != nil {
		last = wire.ProcessOutput{Error: a.report(r, err)} // an answer that has begun can tell no other way
	} else if ended != nil {
		last = wire.ProcessOutput{Position: ended.Next, Process: new(processes.Wire(*ended))}
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

// attachProcess carries a process's output and input as frames, as exec does. A client that hangs up leaves the process as it is.
func (a *api) attachProcess(w http.ResponseWriter, r *http.Request, of runtime.Processes, pid int) error {
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
	f, err := of.Follow(r.Context(), pid, since)
	if err != nil {
		return err
	}
	claim, err := a.find(r)
	if err != nil {
		f.Close()
		return err
	}
	return a.converse(w, r, claim, func(spec runtime.ExecSpec) (processes.Process, error) {
		return processes.Attach(r.Context(), of, pid, f, spec), nil
	})
}
