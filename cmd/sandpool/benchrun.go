package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

const (
	pollEvery      = 20 * time.Millisecond
	settleTimeout  = 2 * time.Minute
	releaseTimeout = 30 * time.Second
)

// bench is what is to be measured.
type bench struct {
	daemon      *client.Client
	template    string
	warm, cold  int // how many claims
	concurrency int
	exec        bool
}

// sample is one measured claim.
type sample struct {
	start   wire.Start // how it was asked for
	tier    wire.Tier  // how it was served
	claim   time.Duration
	command time.Duration // from the same call to the end of the first command; 0 when none was run
}

// round is claims that are made at once.
type round struct {
	start wire.Start
	size  int
}

// run measures round after round and releases all that it claimed.
func (b bench) run(ctx context.Context) ([]sample, error) {
	var samples []sample
	for _, r := range interleave(rounds(wire.StartAny, b.warm, b.concurrency), rounds(wire.StartCold, b.cold, b.concurrency)) {
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

// rounds cuts n claims into rounds of at most size.
func rounds(start wire.Start, n, size int) []round {
	var cut []round
	for ; n > 0; n -= size {
		cut = append(cut, round{start, min(n, size)})
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

// settle waits until the pool is as full as it gets and starts nothing: a claim measured now is served from it, and no refill
// disturbs a cold start. A template without a pool is always settled.
func (b bench) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTimeout, fmt.Errorf("pool of %s is not full and quiet after %s", b.template, settleTimeout))
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		pools, err := b.daemon.Pools(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(pools, func(p wire.Pool) bool { return p.Template == b.template })
		if i < 0 && b.warm > 0 {
			return fmt.Errorf("template %s has no pool: only cold starts can be measured, with --warm 0", b.template)
		}
		if i < 0 || settled(pools[i]) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %d of %d sandboxes, %d warming", context.Cause(ctx), pools[i].Total, pools[i].Wanted, pools[i].Warming)
		}
	}
}

func settled(p wire.Pool) bool {
	return p.Warming == 0 && p.Waiting == 0 && p.Available > 0 && p.Total >= p.Wanted
}

// round makes its claims at once.
func (b bench) round(ctx context.Context, r round) ([]sample, error) {
	samples, errs := make([]sample, r.size), make([]error, r.size)
	var all sync.WaitGroup
	for i := range r.size {
		all.Go(func() { samples[i], errs[i] = b.measure(ctx, r.start) })
	}
	all.Wait()
	return samples, errors.Join(errs...)
}

// measure makes one claim and releases it.
func (b bench) measure(ctx context.Context, start wire.Start) (s sample, err error) {
	called := time.Now()
	claim, err := b.daemon.Claim(ctx, wire.ClaimRequest{Template: b.template, Start: start})
	s = sample{start: start, tier: claim.Tier, claim: time.Since(called)}
	if err != nil {
		return s, fmt.Errorf("claim: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		err = errors.Join(err, b.daemon.Release(ctx, claim.ID))
	}()
	if !b.exec {
		return s, nil
	}
	exit, err := b.daemon.Exec(ctx, claim.ID, wire.ExecRequest{Args: []string{"true"}}, client.Stdio{Out: io.Discard, Err: io.Discard})
	s.command = time.Since(called)
	switch {
	case err != nil:
		return s, fmt.Errorf("run true: %w", err)
	case exit != 0:
		return s, fmt.Errorf("run true: exit code %d", exit)
	}
	return s, nil
}
