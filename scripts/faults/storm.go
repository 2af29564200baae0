package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"sandpool/daemon/wire"
)

const (
	stormClients = 64
	stormTime    = 2 * time.Minute
	shortStorm   = 15 * time.Second
	stormWait    = time.Minute // a claim's own deadline
)

// stormLog is what the clients of a storm measured.
type stormLog struct {
	mu                         sync.Mutex
	claims                     []time.Duration
	refused, gone, bad, failed int
	extended, saved, forked    int
}

// storm lets many clients claim, use, extend, save, fork, release, hang up and send garbage at once.
func storm(ctx context.Context, r *rig, _ int) error {
	log := &stormLog{}
	lasting := stormTime
	if r.short {
		lasting = shortStorm
	}
	end := time.Now().Add(lasting)
	var all sync.WaitGroup
	for range stormClients {
		rng := rand.New(rand.NewPCG(r.rng.Uint64(), r.rng.Uint64())) //nolint:gosec // faults must be repeatable
		all.Go(func() {
			for time.Now().Before(end) && context.Cause(ctx) == nil {
				r.rage(ctx, rng, log)
			}
		})
	}
	all.Wait()
	r.client.Close()
	r.repaired = time.Now()
	r.out.remark = log.String()
	return context.Cause(ctx)
}

// rage is one thing that a client of the storm does.
func (r *rig) rage(ctx context.Context, rng *rand.Rand, log *stormLog) {
	switch dice := rng.IntN(100); {
	case dice < 70:
		r.useSandbox(ctx, rng, log)
	case dice < 85:
		r.hangUp(ctx, rng, log)
	default:
		r.sendGarbage(ctx, rng, log)
	}
}

// useSandbox claims, runs a command, extends and releases, and now and then saves or forks. Each must succeed, but for a claim
// whose own deadline ends.
func (r *rig) useSandbox(ctx context.Context, rng *rand.Rand, log *stormLog) {
	began := time.Now()
	e, err := r.claim(ctx, stormWait)
	took := time.Since(began)
	if isEmpty(err) && took >= stormWait {
		log.count(&log.refused)
		return
	}
	if err != nil {
		r.failed(log, "claim after %s: %v", took, err)
		return
	}
	log.claimed(took)
	if err := r.mark(ctx, e); err != nil {
		r.failed(log, "exec in %s, sandbox %s: %v", e.claim.ID, e.claim.Sandbox, err)
	}
	switch dice := rng.IntN(100); {
	case dice < 50:
		err = count(log, &log.extended, r.extend(ctx, e))
	case dice < 58:
		err = count(log, &log.saved, r.saveAndForget(ctx, e))
	case dice < 62:
		err = count(log, &log.forked, r.forkAndRelease(ctx, e))
	}
	switch {
	case isEmpty(err): // a fork waits for its sandbox, too
		log.count(&log.refused)
	case err != nil:
		r.failed(log, "%s: %v", e.claim.ID, err)
	}
	if err := r.release(ctx, e); err != nil {
		r.failed(log, "release %s: %v", e.claim.ID, err)
	}
}

// isEmpty tells whether the daemon answered that no sandbox was ready in time.
func isEmpty(err error) bool {
	answer, ok := errors.AsType[*wire.Error](err)
	return ok && answer.Code == "pool_empty"
}

// saveAndForget takes a checkpoint and deletes it.
func (r *rig) saveAndForget(ctx context.Context, e *entry) error {
	id, err := r.save(ctx, e, false)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := r.forget(ctx, id); err != nil {
		return fmt.Errorf("delete checkpoint: %w", err)
	}
	return nil
}

// forkAndRelease makes one claim of the present moment of another, looks whether it has its mark, and releases it.
func (r *rig) forkAndRelease(ctx context.Context, e *entry) error {
	made, err := r.fork(ctx, e, 1, stormWait)
	if err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	for _, fork := range made {
		if err := r.tryHeld(ctx, *fork); err != nil {
			return fmt.Errorf("fork: %w", err)
		}
		if err := r.release(ctx, fork); err != nil {
			return fmt.Errorf("release fork: %w", err)
		}
	}
	return nil
}

// count counts what succeeded.
func count(log *stormLog, counter *int, err error) error {
	if err == nil {
		log.count(counter)
	}
	return err
}

// hangUp goes away in the middle of a claim, or of a command.
func (r *rig) hangUp(ctx context.Context, rng *rand.Rand, log *stormLog) {
	log.count(&log.gone)
	brief, cancel := context.WithTimeout(ctx, time.Duration(rng.IntN(300))*time.Millisecond)
	defer cancel()
	if rng.IntN(2) == 0 {
		if e, err := r.claim(brief, stormWait); err == nil {
			_ = r.release(ctx, e) // its check comes at the end
		}
		return
	}
	e, err := r.claim(ctx, stormWait)
	if err != nil {
		return
	}
	_, _, _ = r.exec(brief, e.claim.ID, "sleep", "1000")
	if err := r.release(ctx, e); err != nil {
		r.failed(log, "release %s after a broken exec: %v", e.claim.ID, err)
	}
}

// garbage is what no client should send. None of it may be answered with a success or a fault of the server's.
var garbage = []struct{ method, path, body string }{
	{http.MethodPost, "/v1/claims", "{"},
	{http.MethodPost, "/v1/claims", `{"no_such_field": 1}`},
	{http.MethodPost, "/v1/claims", `{"template": "no such"}`},
	{http.MethodPost, "/v1/claims", `{"wait": "-1s"}`},
	{http.MethodPost, "/v1/claims", `{"request_id": "` + strings.Repeat("x", wire.MaxBody) + `"}`},
	{http.MethodDelete, "/v1/claims/c-aaaaaaaaaaaaaaaa", ""},
	{http.MethodGet, "/v1/claims/..%2f..", ""},
	{http.MethodPost, "/v1/claims/c-aaaaaaaaaaaaaaaa/exec", "{}"},
	{http.MethodPatch, "/v1/pools", ""},
	{http.MethodGet, "/nowhere", ""},
}

// sendGarbage sends a bad request, or bytes that are none.
func (r *rig) sendGarbage(ctx context.Context, rng *rand.Rand, log *stormLog) {
	log.count(&log.bad)
	pick := rng.IntN(len(garbage) + 1)
	if pick == len(garbage) {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", r.socket); err == nil {
			_, _ = fmt.Fprintf(conn, "POST /v1/claims HTTP/1.1\r\nContent-Length: 1000\r\n\r\n%x", rng.Uint64())
			_ = conn.Close()
		}
		return
	}
	g := garbage[pick]
	resp, err := r.request(ctx, g.method, g.path, g.body)
	if err != nil {
		r.failed(log, "%s %s: %v", g.method, g.path, err)
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode < http.StatusBadRequest || resp.StatusCode >= http.StatusInternalServerError {
		r.failed(log, "%s %s %.40s: %s", g.method, g.path, g.body, resp.Status)
	}
}

// failed counts a request that had to succeed.
func (r *rig) failed(log *stormLog, format string, args ...any) {
	log.count(&log.failed)
	r.out.note(format, args...)
}

func (l *stormLog) count(counter *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*counter++
}

func (l *stormLog) claimed(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = append(l.claims, took)
}

func (l *stormLog) String() string {
	ms := func(p int) time.Duration { return percentile(l.claims, p).Round(time.Millisecond) }
	return fmt.Sprintf("%d claims, p50 %s, p95 %s, p99 %s; %d extended, %d saved, %d forked; %d refused at their deadline, %d hung up, %d sent garbage, %d failed",
		len(l.claims), ms(50), ms(95), ms(99), l.extended, l.saved, l.forked, l.refused, l.gone, l.bad, l.failed)
}
