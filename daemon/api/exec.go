package api

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/processes"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
)

// largeBodies is how many bodies over wire.MaxBody are read at a time.
const largeBodies = 16

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + wire.ExecProtocol + "\r\n\r\n"

// execInClaim runs a command in a claim's sandbox. From the answer 101 on, the connection carries frames.
func (a *api) execInClaim(w http.ResponseWriter, r *http.Request) error {
	began := time.Now()
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	leave, err := a.admitStream(r)
	if err != nil {
		return err
	}
	defer leave()
	var body wire.ExecRequest
	if err := a.decodeExec(w, r, &body); err != nil {
		return err
	}
	if err := processes.Check(body); err != nil {
		return err
	}
	claim, done, err := a.use(r, claim)
	if err != nil {
		return err
	}
	defer done()
	defer func() { a.Metrics.Execed(claim.ID, time.Since(began)) }()
	// Only process 1 can make a command another user's and end it in time. The shim would write secrets into a file.
	must := body.User != "" || body.Timeout != nil || len(body.Rlimits) > 0 || body.TTY && claim.Given == pool.Secrets
	if must || body.TTY {
		of, err := a.Processes(r.Context(), claim.Sandbox)
		switch {
		case err == nil:
			return a.execSupervised(w, r, claim, of, body)
		case must || context.Cause(r.Context()) != nil:
			return err
		}
		a.detours.Note(claim.ID, err)
	}
	return a.converse(w, r, claim, func(spec runtime.ExecSpec) (processes.Process, error) {
		spec.Args, spec.Env, spec.Cwd, spec.TTY, spec.Rows, spec.Cols = body.Args, body.Env, body.Cwd, body.TTY, body.Rows, body.Cols
		spec.Given, spec.Owned = claim.HasGiven(), true
		return a.Exec(r.Context(), claim.Sandbox, spec)
	})
}

// admitStream gives a request to carry frames its place among those of its user, until leave is called.
func (a *api) admitStream(r *http.Request) (leave func(), err error) {
	if !wantsUpgrade(r.Header) {
		return nil, errUpgrade
	}
	who, _ := actorOf(r.Context())
	return a.crowd.execs.take(who)
}

// converse takes the connection over, and carries the input and output of the process that start returns, until it ends or the client leaves.
func (a *api) converse(w http.ResponseWriter, r *http.Request, claim pool.Claim, start func(runtime.ExecSpec) (processes.Process, error)) error {
	taken, s, err := hijack(w, a.Log.With("claim", claim.ID))
	if err != nil {
		return err
	}
	defer func() { _ = taken.Close() }()
	if _, err := io.WriteString(taken.UnixConn, switching); err != nil {
		a.Log.Debug("exec client is gone", "err", err)
		return nil
	}
	code, err := s.Run(r.Context(), start)
	if err != nil || code >= 128 { // ended by a signal: perhaps with all of its sandbox
		err = cmp.Or(a.fate(r.Context(), claim), err)
	}
	if err != nil {
		s.SendError(a.report(r, err))
	} else {
		s.SendExit(code)
	}
	return nil
}

// decodeExec lets only a few large bodies into the memory at a time.
func (a *api) decodeExec(w http.ResponseWriter, r *http.Request, body any) error {
	if r.ContentLength < 0 || r.ContentLength > wire.MaxBody {
		who, _ := actorOf(r.Context())
		leave, err := a.crowd.large.take(who)
		if err != nil {
			return err
		}
		defer leave()
		select {
		case a.large <- struct{}{}:
			defer func() { <-a.large }()
		case <-r.Context().Done():
			return context.Cause(r.Context())
		}
		if err := limitBody(w, r, bodyTimeout); err != nil { // the wait for a place was not the client's
			return err
		}
	}
	return decodeUpTo(wire.MaxExecBody, w, r, body)
}

// use wakes a claim's sandbox if it rests, and keeps it awake until done is called.
func (a *api) use(r *http.Request, claim pool.Claim) (pool.Claim, func(), error) {
	used, done, err := a.Claims.Use(r.Context(), claim.ID)
	if err != nil {
		return claim, nil, cmp.Or(a.lost(claim), err)
	}
	return used, done, nil
}

// fatePatience is how long it may take until it is known why a sandbox has ended.
const fatePatience = 3 * time.Second

// fate is what lost says, of a sandbox that has ended as soon as that is known: its commands end before.
func (a *api) fate(ctx context.Context, claim pool.Claim) error {
	ctx, cancel := context.WithTimeout(ctx, fatePatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := a.lost(claim); err != nil || a.Alive(claim.Sandbox) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// lost returns why a claim has no running sandbox any more, or nil if it has.
func (a *api) lost(claim pool.Claim) error {
	now, err := a.Claims.Get(claim.ID)
	if err != nil {
		return errdefs.ErrConflict.WithMessage(fmt.Sprintf("claim %s was released or expired, and its sandbox destroyed", claim.ID))
	}
	if now.State == pool.Dead {
		return errdefs.ErrConflict.WithMessage(fmt.Sprintf("claim %s is dead: %s", now.ID, now.Reason))
	}
	return nil
}

// hijack takes the connection over from net/http; it is to be closed.
func hijack(w http.ResponseWriter, log *slog.Logger) (*refusingConn, *processes.Stream, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over connection: %w", err)
	}
	taken, ok := conn.(*refusingConn)
	if !ok {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("take over connection: it is a %T", conn)
	}
	// What net/http read ahead comes first. Reading on through its buffer would end the request's context with the input.
	ahead, _ := buffered.Peek(buffered.Reader.Buffered())
	return taken, processes.NewStream(taken.UnixConn, io.MultiReader(bytes.NewReader(ahead), conn), log), nil
}

func wantsUpgrade(h http.Header) bool {
	for _, value := range h.Values("Connection") {
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return strings.EqualFold(h.Get("Upgrade"), wire.ExecProtocol)
			}
		}
	}
	return false
}
