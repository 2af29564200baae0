package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"sandpool/daemon/wire"
	"sandpool/scripts/faults/tenant"
)

// newTenant makes a tenant that has no claim yet.
func (r *rig) newTenant() *tenant.Tenant {
	t := tenant.New(r.client, newRequest())
	r.book.set(func() { r.book.waiting[t] = true })
	return t
}

// settle claims a sandbox for a tenant, perhaps once more.
func (r *rig) settle(ctx context.Context, t *tenant.Tenant) error {
	e, err := r.claimAs(ctx, t.Request, claimWait)
	if err != nil {
		return err
	}
	t.Enter(e.claim)
	r.book.set(func() {
		e.tenant = t
		delete(r.book.waiting, t)
	})
	return nil
}

// inhabit has a tenant claim a sandbox and work in it until ctx ends.
func (r *rig) inhabit(ctx context.Context) {
	t := r.newTenant()
	for r.settle(ctx, t) != nil {
		if context.Cause(ctx) != nil {
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
	t.Live(ctx)
}

// mostWaiting is how many tenants may wait for an answer: they all get a sandbox in the end.
const mostWaiting = 3

// settleOne has a tenant claim a sandbox and work in it once.
func (r *rig) settleOne(ctx context.Context) {
	waiting := 0
	if r.book.set(func() { waiting = len(r.book.waiting) }); waiting >= mostWaiting {
		return
	}
	t := r.newTenant()
	if r.settle(ctx, t) == nil {
		_ = t.Work(ctx) // what was answered counts
	}
}

// settleAll asks again for the claims of tenants that were not answered.
func (r *rig) settleAll(ctx context.Context) {
	var waiting []*tenant.Tenant
	r.book.set(func() { waiting = slices.Collect(maps.Keys(r.book.waiting)) })
	for _, t := range waiting {
		if err := r.settle(ctx, t); err != nil {
			r.out.note("claim of tenant %s: %v", t.Request.RequestID, err)
		}
	}
}

// checkTenant looks whether all is there in a sandbox that its tenant was answered, and whether work goes on.
func (r *rig) checkTenant(ctx context.Context, e entry) {
	now, err := r.client.Get(ctx, e.claim.ID)
	if e.tenant == nil || err == nil && now.State == wire.ClaimDead {
		return
	}
	if !r.checkRooms(ctx, e) {
		return
	}
	if err := e.tenant.Work(ctx); err != nil {
		r.out.lose("%s on %s: work does not go on: %v", e.claim.ID, e.claim.Sandbox, err)
		return
	}
	r.checkRooms(ctx, e)
}

// checkRooms gives what was under way the time to end, or to be tidied up, and tells whether all is well.
func (r *rig) checkRooms(ctx context.Context, e entry) bool {
	left, lost := []string(nil), errors.New("its sandbox does not answer")
	if await(ctx, leakTimeout, func(ctx context.Context) bool {
		if nowLeft, nowLost := e.tenant.Check(ctx); context.Cause(ctx) == nil { // else the look itself was broken off
			left, lost = nowLeft, nowLost
		}
		return lost == nil && len(left) == 0
	}) {
		return true
	}
	if lost != nil {
		r.out.lose("%s on %s: %v", e.claim.ID, e.claim.Sandbox, lost)
	}
	if len(left) > 0 {
		r.out.leak("%s on %s: files %s", e.claim.ID, e.claim.Sandbox, strings.Join(left, ", "))
	}
	return false
}
