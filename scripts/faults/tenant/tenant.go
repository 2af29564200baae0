// Package tenant is a client that works inside one sandbox: it brings things along, has processes, changes files, and reaches the outside. It remembers what it was
// answered, so that it can tell what a fault lost.
package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// brought is the file that its claim brings along.
const brought = "/tmp/brought"

// Tenant is a client in a sandbox. Its methods are not to be called at once.
type Tenant struct {
	Request wire.ClaimRequest // its claim's

	client  *client.Client
	claim   string
	counter counter
	echoes  []*echo
	files   files
	rules   rules
}

// New makes a tenant whose claim has a request id that no other has.
func New(c *client.Client, request string) *Tenant {
	return &Tenant{client: c, files: files{has: world{}}, rules: rules{may: []string{""}}, Request: wire.ClaimRequest{
		RequestID: request,
		Env:       []string{"TENANT_PLAIN=plain-" + request},
		Secrets:   []string{"TENANT_SECRET=secret-" + request},
		Metadata:  map[string]string{"tenant": request},
		Files:     []wire.ClaimFile{{Path: brought, Text: "file-" + request}},
		Command:   counting,
	}}
}

// Enter says that its claim was answered. An answer that was asked for again has no process, which then is to be found.
func (t *Tenant) Enter(claim wire.Claim) {
	t.claim = claim.ID
	if claim.Process != nil {
		t.counter.pid = claim.Process.PID
	}
}

// Live follows the output of its command and works until ctx ends.
func (t *Tenant) Live(ctx context.Context) {
	var following sync.WaitGroup
	following.Go(func() {
		for context.Cause(ctx) == nil {
			_ = t.follow(ctx) // it is broken off by faults
			rest(ctx)
		}
	})
	for context.Cause(ctx) == nil {
		_ = t.Work(ctx) // what was answered counts
		rest(ctx)
	}
	following.Wait()
}

// rest leaves the machine to others for a moment.
func rest(ctx context.Context) {
	select {
	case <-time.After(50 * time.Millisecond):
	case <-ctx.Done():
	}
}

// Work does each of its works once, in any order, until one fails. Of files nothing more is changed once that was not answered: see Check.
func (t *Tenant) Work(ctx context.Context) error {
	works := []func(context.Context) error{t.startEcho, t.speak, t.upload, t.grow, t.unpack, t.moveAndRemove, t.narrow}
	for _, i := range rand.Perm(len(works)) { //nolint:gosec // no secret
		if err := works[i](ctx); err != nil {
			return err
		}
	}
	return nil
}

// Check returns the files that nobody asked for, and as an error what is lost of what was answered. It is to be asked again for as long as what was under way may
// take to come to its end. When all is well, what was not answered is known, and work goes on from there.
func (t *Tenant) Check(ctx context.Context) (left []string, lost error) {
	now, left, err := t.look(ctx)
	if err == nil {
		err = t.files.explain(now)
	}
	lost = errors.Join(t.checkBrought(ctx), t.checkProcesses(ctx), t.checkNetwork(ctx), err)
	if lost == nil && len(left) == 0 {
		t.files = files{has: now, generation: t.files.generation, made: t.files.made}
	}
	return left, lost
}

// checkBrought looks for what the claim brought along.
func (t *Tenant) checkBrought(ctx context.Context) error {
	now, err := t.client.Get(ctx, t.claim)
	if err != nil {
		return err
	}
	request := t.Request.RequestID
	if now.Metadata["tenant"] != request || now.Given != "secrets" {
		return fmt.Errorf("the claim has metadata %v, and was given %q", now.Metadata, now.Given)
	}
	var out bytes.Buffer
	show := []string{"sh", "-c", `echo "$TENANT_PLAIN $TENANT_SECRET" && cat "$0"`, brought}
	code, err := t.client.Exec(ctx, t.claim, wire.ExecRequest{Args: show}, client.Stdio{Out: &out, Err: &out})
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("plain-%s secret-%s\nfile-%s", request, request, request); code != 0 || out.String() != want {
		return fmt.Errorf("of what the claim brought along there is %q (exit code %d), want %q", out.String(), code, want)
	}
	return nil
}
