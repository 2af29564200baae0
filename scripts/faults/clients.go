package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

const (
	workers   = 4                // clients of the ordinary load
	claimWait = 20 * time.Second // how long they wait for a sandbox
	markFile  = "/claim"         // in a sandbox: the id of the claim that has it
	usedCode  = 9                // exit code of the marking command in a sandbox that was used before
)

// requests numbers the requests of all clients, so that no two share an id.
var requests atomic.Int64

// load lets clients claim, use and release sandboxes until stop is called. Each keeps one claim, and now and then leaves
// the pool the time to fill up. Beside them a tenant works in one sandbox.
func (r *rig) load(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			request := newRequest()
			for kept := false; context.Cause(ctx) == nil; {
				e, err := r.claimAs(ctx, wire.ClaimRequest{RequestID: request}, claimWait)
				if err != nil { // the fault is at work; what was granted without an answer is asked for again
					pause(ctx, 20*time.Millisecond)
					continue
				}
				request = newRequest()
				_ = r.mark(ctx, e) // one that could not be marked is not looked for by its mark
				if kept {
					_ = r.release(ctx, e) // what became of it is looked for later
				}
				kept = true
				pause(ctx, rand.N(time.Second)) //nolint:gosec // no secret
			}
		})
	}
	all.Go(func() { r.inhabit(ctx) })
	return func() {
		cancel()
		all.Wait()
		r.client.Close()
	}
}

func newRequest() string { return fmt.Sprintf("r-%d", requests.Add(1)) }

// claim claims a sandbox and enters it in the book.
func (r *rig) claim(ctx context.Context, wait time.Duration) (*entry, error) {
	return r.claimAs(ctx, wire.ClaimRequest{RequestID: newRequest()}, wait)
}

// claimAs claims with a request id that may have been used before, and enters the claim in the book.
func (r *rig) claimAs(ctx context.Context, req wire.ClaimRequest, wait time.Duration) (*entry, error) {
	r.book.ask(req.RequestID)
	limit := lifetime.Duration(wait)
	req.Wait = &limit
	claim, err := r.client.Claim(ctx, req)
	if err != nil {
		return nil, err
	}
	return r.enter(claim), nil
}

// enter notes an answered claim.
func (r *rig) enter(claim wire.Claim) *entry {
	e, other := r.book.grant(claim)
	if other != "" {
		r.out.gaveTwice("sandbox %s was given to %s and %s", claim.Sandbox, other, claim.ID)
	}
	return e
}

// mark writes the claim's id into its sandbox, where nobody may have been before. Its error says why that failed.
func (r *rig) mark(ctx context.Context, e *entry) error {
	code, out, err := r.exec(ctx, e.claim.ID, "sh", "-c", `if cat "$1" 2>/dev/null; then exit 9; fi; echo "$2" >"$1"`, "mark", markFile, e.claim.ID)
	if err != nil {
		return err
	}
	if code == usedCode {
		r.out.gaveTwice("sandbox %s of %s was marked by %s", e.claim.Sandbox, e.claim.ID, strings.TrimSpace(out))
	}
	if code != 0 {
		return fmt.Errorf("exit code %d: %s", code, out)
	}
	r.book.set(func() { e.mark = e.claim.ID })
	return nil
}

// exec runs a command in a claim's sandbox and returns its exit code and output.
func (r *rig) exec(ctx context.Context, claim string, args ...string) (int, string, error) {
	var out bytes.Buffer
	code, err := r.client.Exec(ctx, claim, wire.ExecRequest{Args: args}, client.Stdio{Out: &out, Err: &out})
	return code, out.String(), err
}

// release ends a claim.
func (r *rig) release(ctx context.Context, e *entry) error {
	r.book.set(func() { e.ending = true })
	err := r.client.Release(ctx, e.claim.ID)
	if err == nil {
		r.book.set(func() { e.ended = true })
	}
	return err
}
