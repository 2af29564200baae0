package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sandpool/daemon/wire"
)

const (
	// leakTimeout is how long something may stay behind: two of the daemon's sweeps, which come each 30 s.
	leakTimeout = 75 * time.Second
	// useTimeout is how long a claim that is listed as running may refuse a command.
	useTimeout = 15 * time.Second
)

// verify waits until the pools are whole again, then looks for double claims, lost claims and leaks. At its end no claim is
// left and the pool is whole.
func (r *rig) verify(ctx context.Context) error {
	if err := r.awaitWhole(ctx); err != nil {
		return err
	}
	r.out.recovery = append(r.out.recovery, time.Since(r.repaired))
	r.settleAll(ctx)
	for _, e := range r.book.held() {
		r.checkHeld(ctx, e)
		r.checkTenant(ctx, e)
		r.checkTold(ctx, e)
		r.checkExpired(ctx, e)
	}
	if err := r.checkSaved(ctx); err != nil {
		return err
	}
	if err := r.clear(ctx); err != nil {
		return err
	}
	if err := r.awaitWhole(ctx); err != nil {
		return err
	}
	r.checkLeaks(ctx)
	r.checkLevel(ctx)
	r.book = newBook()
	return context.Cause(ctx)
}

// awaitWhole waits until the daemon is ready and every pool has all its sandboxes and no work under way.
func (r *rig) awaitWhole(ctx context.Context) error {
	var last error
	if await(ctx, patience, func(ctx context.Context) bool {
		last = r.whole(ctx)
		return last == nil
	}) {
		return nil
	}
	return fmt.Errorf("the pools are not whole after %s: %w", patience, last)
}

// whole returns what is missing, or nil.
func (r *rig) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience/4)
	defer cancel()
	if err := r.client.Ready(ctx); err != nil {
		return err
	}
	pools, err := r.client.Pools(ctx)
	if err != nil {
		return err
	}
	for _, p := range pools {
		if p.Warming > 0 || p.Waiting > 0 || p.Total < max(p.Target, p.Wanted) {
			return fmt.Errorf("pool %+v", p)
		}
	}
	return nil
}

// checkHeld looks after an answered claim: it must work, or be reported dead with a reason.
func (r *rig) checkHeld(ctx context.Context, e entry) {
	var problem error
	if !await(ctx, useTimeout, func(ctx context.Context) bool {
		problem = r.tryHeld(ctx, e)
		return problem == nil
	}) {
		r.out.lose("%s on %s: %v", e.claim.ID, e.claim.Sandbox, problem)
	}
}

func (r *rig) tryHeld(ctx context.Context, e entry) error {
	now, err := r.client.Get(ctx, e.claim.ID)
	if isGone(err) && e.over() {
		return nil
	}
	if err == nil {
		err = e.checkEnd(now)
	}
	switch {
	case err != nil:
		return err
	case now.Sandbox != e.claim.Sandbox:
		return fmt.Errorf("it is now on %s", now.Sandbox)
	case now.State == wire.ClaimDead && now.Reason == "":
		return errors.New("it is dead without a reason")
	case now.State == wire.ClaimDead:
		return nil
	}
	want, command := e.claim.Sandbox, []string{"hostname"}
	if e.mark != "" {
		want, command = e.mark, []string{"cat", markFile}
	}
	code, out, err := r.exec(ctx, e.claim.ID, command...)
	if err != nil {
		return fmt.Errorf("it is listed as %s: %w", now.State, err)
	}
	if got := strings.TrimSpace(out); code != 0 || got != want {
		return fmt.Errorf("%v: exit code %d and %q, want %q", command, code, got, want)
	}
	return nil
}

// checkTold looks whether an event says why a claim is dead or gone.
func (r *rig) checkTold(ctx context.Context, e entry) {
	now, err := r.client.Get(ctx, e.claim.ID)
	if err == nil && now.State != wire.ClaimDead {
		return
	}
	var kinds []string
	if !await(ctx, useTimeout, func(ctx context.Context) bool {
		kinds = nil
		_, err = r.client.Events(ctx, "", e.claim.ID, false, func(event wire.Event) error {
			kinds = append(kinds, event.Kind)
			return nil
		})
		return err == nil && (slices.Contains(kinds, "died") || slices.Contains(kinds, "stopped") || slices.Contains(kinds, "killed"))
	}) {
		r.out.lose("%s ended, and no event says why: %v, %v", e.claim.ID, kinds, err)
	}
}

// clear releases every claim and deletes every checkpoint. A claim that nobody asked for, or that was released before, is a leak.
func (r *rig) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	claims, err := r.client.List(ctx)
	if err != nil {
		return err
	}
	first := map[string]string{} // claim ids by request id
	for _, c := range claims {
		if c.RequestID == "" {
			continue // see checkForks
		}
		if other := first[c.RequestID]; other != "" {
			r.out.gaveTwice("request %s was granted as %s and as %s", c.RequestID, other, c.ID)
		}
		first[c.RequestID] = c.ID
		e, answered, asked := r.book.find(c)
		switch {
		case !asked:
			r.out.leak("nobody asked for %+v", c)
		case answered && e.ended:
			r.out.leak("%s was released and is back", c.ID)
		}
	}
	r.checkForks(claims)
	errs := make([]error, len(claims))
	var all sync.WaitGroup
	for i, c := range claims {
		all.Go(func() {
			if err := r.client.Release(ctx, c.ID); err != nil && (!isGone(err) || time.Now().Before(c.ExpiresAt)) {
				errs[i] = fmt.Errorf("release: %w", err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return r.clearSaved(ctx)
}

// isGone tells whether the daemon answered that there is no such claim.
func isGone(err error) bool {
	answer, ok := errors.AsType[*wire.Error](err)
	return ok && answer.Code == "not_found"
}

// checkLeaks compares what is on the host with what the daemon counts, until they agree or it takes too long.
func (r *rig) checkLeaks(ctx context.Context) {
	left := []string{"containerd or the daemon does not answer"}
	if await(ctx, leakTimeout, func(ctx context.Context) bool {
		if now := r.leftovers(ctx); context.Cause(ctx) == nil { // else the look itself was broken off
			left = now
		}
		return len(left) == 0
	}) || context.Cause(ctx) != nil {
		return
	}
	for _, what := range left {
		r.out.leak("%s", what)
	}
}
