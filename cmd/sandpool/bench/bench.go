// Package bench times claims of a daemon, and compares how they were served.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

const (
	pollEvery      = 20 * time.Millisecond
	settleTimeout  = 2 * time.Minute
	releaseTimeout = 30 * time.Second
	saveTimeout    = 2 * time.Minute
)

// kind is a way to get a sandbox.
type kind string

const (
	kindWarm     kind = "warm"     // one that was ready in the pool
	kindCold     kind = "cold"     // one that is started for the claim
	kindRestored kind = "restored" // one that goes on from a checkpoint
	kindTemplate kind = "template" // one that goes on from its template's snapshot
)

// Bench is what is to be measured.
type Bench struct {
	Daemon      *client.Client
	Template    string
	Warm, Cold  int // how many claims
	Restored    int
	Concurrency int
	Command     string // line for the sandbox's /bin/sh, run first; empty: none
	Get         string // PORT/PATH of a first HTTP request; empty: none

	checkpoint string // that the restored ones go on from
}

// sample is one measured claim.
type sample struct {
	kind    kind      // how it was meant
	tier    wire.Tier // how it was served
	claim   time.Duration
	command time.Duration // from the same call to the end of the first command; 0 when none was run
	request time.Duration // or of the answer to the first request
	phases  *wire.Phases  // of the start that it waited for
}

// round is claims that are made at once.
type round struct {
	kind kind
	size int
}

// Check tells what is wrong with what is to be measured.
func (b Bench) Check() error {
	if min(b.Warm, b.Cold, b.Restored) < 0 || b.Warm+b.Cold+b.Restored == 0 || b.Concurrency < 1 {
		return errors.New("want at least one claim, and at least one at once")
	}
	if b.Get != "" {
		_, _, err := parseGet(b.Get)
		return err
	}
	return nil
}

// Run measures, and reports what it found. It leaves no claim and no checkpoint.
func (b Bench) Run(ctx context.Context) (Report, error) {
	info, err := b.Daemon.Info(ctx)
	if err != nil {
		return Report{}, err
	}
	machine := thisMachine(info) // before the bench itself is the load
	samples, err := b.run(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("bench: %w", err)
	}
	return newReport(samples, b.Concurrency, machine), nil
}

// run measures round after round, releases all that it claimed and deletes its checkpoint.
func (b Bench) run(ctx context.Context) (samples []sample, err error) {
	if b.Restored > 0 {
		b.checkpoint, err = b.save(ctx)
		defer func() { err = errors.Join(err, b.forget(ctx)) }()
		if err != nil {
			return nil, err
		}
	}
	for _, r := range b.plan() {
		if err := b.settle(ctx); err != nil {
			return nil, err
		}
		measured, err := b.round(ctx, r)
		if err != nil {
			return nil, err
		}
		samples = append(samples, measured...)
	}
	return samples, nil
}

// plan spreads the rounds of every kind evenly over the whole.
func (b Bench) plan() []round {
	warm, cold, restored := rounds(kindWarm, b.Warm, b.Concurrency), rounds(kindCold, b.Cold, b.Concurrency), rounds(kindRestored, b.Restored, b.Concurrency)
	return interleave(interleave(warm, cold), restored)
}

// rounds cuts n claims into rounds of at most size.
func rounds(k kind, n, size int) []round {
	var cut []round
	for ; n > 0; n -= size {
		cut = append(cut, round{k, min(n, size)})
	}
	return cut
}

// interleave spreads both lists evenly over the whole.
func interleave(a, b []round) []round {
	all := make([]round, 0, len(a)+len(b))
	for i, j := 0, 0; i < len(a) || j < len(b); {
		// The list goes next whose middle of the next round comes first: (i+½)/len(a) against (j+½)/len(b).
		if j == len(b) || i < len(a) && (2*i+1)*len(b) <= (2*j+1)*len(a) {
			all = append(all, a[i])
			i++
		} else {
			all = append(all, b[j])
			j++
		}
	}
	return all
}

// save returns a checkpoint of a sandbox of the template that is ready. An error may come with one. An interrupt waits until
// its name is known: without that nobody would delete it.
func (b Bench) save(ctx context.Context) (checkpoint string, err error) {
	claim, err := b.Daemon.Claim(ctx, b.request(kindWarm))
	if err != nil {
		return "", fmt.Errorf("claim the sandbox to save: %w", err)
	}
	defer func() { err = errors.Join(err, b.release(ctx, claim.ID)) }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	saved, err := b.Daemon.Checkpoint(ctx, claim.ID, wire.CheckpointRequest{Comment: "made by sandpool bench"})
	if err != nil {
		return "", fmt.Errorf("make a checkpoint: %w", err)
	}
	return saved.ID, nil
}

// forget deletes the checkpoint, if there is one, also after an interrupt.
func (b Bench) forget(ctx context.Context) error {
	if b.checkpoint == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := b.Daemon.DeleteCheckpoint(ctx, b.checkpoint); err != nil {
		return fmt.Errorf("delete checkpoint %s: %w", b.checkpoint, err)
	}
	return nil
}

// release ends a claim, also after an interrupt.
func (b Bench) release(ctx context.Context, claim string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	return b.Daemon.Release(ctx, claim)
}

// request is a claim that asks for one kind.
func (b Bench) request(k kind) wire.ClaimRequest {
	req := wire.ClaimRequest{Template: b.Template}
	switch k {
	case kindWarm, kindTemplate:
	case kindCold:
		req.Start = wire.StartCold
	case kindRestored:
		req.Checkpoint = b.checkpoint
	}
	return req
}

// settle waits until the pool is as full as it gets and starts nothing: a claim measured now is served from it, and no refill
// disturbs the start of another. A template without a pool is always settled.
func (b Bench) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTimeout, fmt.Errorf("pool of %s is not full and quiet after %s", b.Template, settleTimeout))
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		pools, err := b.Daemon.Pools(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(pools, func(p wire.Pool) bool { return p.Template == b.Template })
		if i < 0 && b.Warm > 0 {
			return fmt.Errorf("template %s has no pool: there is no warm claim of it, so --warm must be 0", b.Template)
		}
		if i < 0 || settled(pools[i], b.Warm > 0) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %d of %d sandboxes, %d warming", context.Cause(ctx), pools[i].Total, pools[i].Wanted, pools[i].Warming)
		}
	}
}

// settled tells whether a pool that a bench may claim warm from, or may not, is full and quiet.
func settled(p wire.Pool, warm bool) bool {
	return p.Warming == 0 && p.Waiting == 0 && p.Total >= p.Wanted && (p.Available > 0 || !warm)
}

// round makes its claims at once.
func (b Bench) round(ctx context.Context, r round) ([]sample, error) {
	samples, errs := make([]sample, r.size), make([]error, r.size)
	var all sync.WaitGroup
	for i := range r.size {
		all.Go(func() { samples[i], errs[i] = b.measure(ctx, r.kind) })
	}
	all.Wait()
	return samples, errors.Join(errs...)
}

// measure makes one claim and releases it.
func (b Bench) measure(ctx context.Context, k kind) (s sample, err error) {
	called := time.Now()
	claim, err := b.Daemon.Claim(ctx, b.request(k))
	s = sample{kind: k, tier: claim.Tier, claim: time.Since(called), phases: claim.Phases}
	if err != nil {
		return s, fmt.Errorf("claim: %w", err)
	}
	defer func() { err = errors.Join(err, b.release(ctx, claim.ID)) }()
	if b.Command != "" {
		err = b.exec(ctx, claim.ID)
		s.command = time.Since(called)
	}
	if b.Get != "" {
		err = b.ask(ctx, claim.ID)
		s.request = time.Since(called)
	}
	return s, err
}

func (b Bench) exec(ctx context.Context, id string) error {
	exit, err := b.Daemon.Exec(ctx, id, wire.ExecRequest{Args: []string{"/bin/sh", "-c", b.Command}}, client.Stdio{Out: io.Discard, Err: io.Discard})
	if err == nil && exit != 0 {
		err = fmt.Errorf("exit code %d", exit)
	}
	if err != nil {
		return fmt.Errorf("run %q: %w", b.Command, err)
	}
	return nil
}

// ask sends an HTTP request to a server in a claim's sandbox and reads the answer.
func (b Bench) ask(ctx context.Context, id string) error {
	port, path, err := parseGet(b.Get)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return fmt.Errorf("get %s: %w", b.Get, err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return b.Daemon.DialPort(context.WithoutCancel(ctx), id, port), nil
	}}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("get %s: %w", b.Get, err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	err = errors.Join(err, resp.Body.Close())
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return fmt.Errorf("get %s: %w", b.Get, err)
	}
	return nil
}

// parseGet takes PORT/PATH apart.
func parseGet(get string) (port int, path string, err error) {
	number, rest, _ := strings.Cut(get, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return 0, "", fmt.Errorf("--get %q: want PORT/PATH", get)
	}
	return int(n), "/" + rest, nil
}
