package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sandpool/daemon/wire"
)

// The lifetime types of claims that are to come to their end, or to be put to rest, within seconds.
const (
	typeFleeting = "fleeting"
	typeIdle     = "idle"
)

// restWait is how long an idle claim may take to rest: a busy machine is slow to look idle.
const restWait = 20 * time.Second

// forks is how many claims one fork makes.
const forks = 2

// cause makes the pool do once what claims and releases alone do not lead to. What fails then does not matter: the daemon may
// crash on it.
type cause func(r *rig, ctx context.Context)

// causes lead to the steps that begin with a text; the first that fits counts. All other steps are on the way of each claim.
var causes = []struct {
	prefix string
	causes []cause
}{
	{"give", []cause{(*rig).settleOne}},
	{"claim", []cause{(*rig).settleOne}},
	{"supervisor", []cause{(*rig).settleOne}},
	{"process", []cause{(*rig).settleOne}},
	{"network", []cause{(*rig).settleOne}},
	{"extend", []cause{(*rig).extendTwice}},
	{"stage", []cause{(*rig).letExpire}},
	{"pause", []cause{(*rig).letPause, (*rig).useOne}},
	{"resume", []cause{(*rig).wakePaused, (*rig).useOne}},
	{"rest labelled", []cause{(*rig).letPause, (*rig).retireOne}},
	{"rest paused", []cause{(*rig).letPause, (*rig).retireOne}},
	{"wake", []cause{(*rig).wakePaused, (*rig).wakeSuspended}},
	{"suspend", []cause{(*rig).letSuspend}},
	{"halted", []cause{(*rig).letSuspend}},
	{"revived", []cause{(*rig).wakeSuspended}},
	{"checkpoint deleted", []cause{(*rig).forgetOne, (*rig).forkOne, (*rig).wakeSuspended}},
	{"checkpoint", []cause{(*rig).saveOne, (*rig).retireOne, (*rig).forkOne, (*rig).letSuspend, (*rig).letExpire}},
	{"restore created", []cause{(*rig).restoreOne, (*rig).forkOne}},
	{"restore started", []cause{(*rig).restoreOne, (*rig).forkOne, (*rig).wakeSuspended}},
	{"release begun", []cause{(*rig).retireOne}},
	{"task forsaken", []cause{(*rig).letSuspend, (*rig).drain}},
	{"heat", []cause{(*rig).heatAll, (*rig).heatNone}},
	{"refill", []cause{(*rig).useOne}},
	{"drain", []cause{(*rig).drain}},
}

// quiet tells of a step at which the ordinary load would be in the way. Some come only while the pool has sandboxes to spare, which it takes each
// as soon as it has started on a slow machine. At the last of a claim the daemon is to die on one that has brought something along.
func quiet(step string) bool {
	return strings.HasPrefix(step, "heat") || strings.HasPrefix(step, "refill") || step == "claim begun" || step == "claim fulfilled"
}

func causesOf(step string) []cause {
	for _, c := range causes {
		if strings.HasPrefix(step, c.prefix) {
			return c.causes
		}
	}
	return nil
}

// one claims a sandbox of a lifetime type and marks it.
func (r *rig) one(ctx context.Context, kind string) (*entry, error) {
	e, err := r.claimAs(ctx, wire.ClaimRequest{RequestID: newRequest(), Type: kind}, claimWait)
	if err != nil {
		return nil, err
	}
	return e, r.mark(ctx, e)
}

func (r *rig) extendTwice(ctx context.Context) {
	e, err := r.one(ctx, "")
	for range 2 {
		if err == nil {
			err = r.extend(ctx, e)
		}
	}
}

// letExpire makes a claim that ends by itself, and waits for about as long as one takes.
func (r *rig) letExpire(ctx context.Context) {
	_, _ = r.one(ctx, typeFleeting)
	pause(ctx, 2*time.Second)
}

func (r *rig) letPause(ctx context.Context) { _, _ = r.rested(ctx, wire.ClaimPaused) }

func (r *rig) letSuspend(ctx context.Context) { _, _ = r.rested(ctx, wire.ClaimSuspended) }

func (r *rig) wakePaused(ctx context.Context) { r.wake(ctx, wire.ClaimPaused) }

func (r *rig) wakeSuspended(ctx context.Context) { r.wake(ctx, wire.ClaimSuspended) }

// rested returns a claim that has come to rest, at least as deep as state.
func (r *rig) rested(ctx context.Context, state wire.ClaimState) (*entry, error) {
	e, err := r.one(ctx, typeIdle)
	if err != nil {
		return nil, err
	}
	if !await(ctx, restWait, func(ctx context.Context) bool {
		var now wire.Claim
		now, err = r.client.Get(ctx, e.claim.ID)
		return err != nil || now.State == state || now.State == wire.ClaimSuspended
	}) {
		return nil, fmt.Errorf("claim %s does not come to rest", e.claim.ID)
	}
	return e, err
}

func (r *rig) wake(ctx context.Context, from wire.ClaimState) {
	e, err := r.rested(ctx, from)
	if err == nil {
		_, _, _ = r.exec(ctx, e.claim.ID, "true")
	}
}

func (r *rig) saveOne(ctx context.Context) {
	if e, err := r.one(ctx, ""); err == nil {
		_, _ = r.save(ctx, e, false)
	}
}

func (r *rig) retireOne(ctx context.Context) {
	if e, err := r.one(ctx, ""); err == nil {
		_, _ = r.save(ctx, e, true)
	}
}

func (r *rig) forgetOne(ctx context.Context) {
	e, err := r.one(ctx, "")
	if err != nil {
		return
	}
	if saved, err := r.save(ctx, e, true); err == nil {
		_ = r.forget(ctx, saved)
	}
}

func (r *rig) forkOne(ctx context.Context) {
	if e, err := r.one(ctx, ""); err == nil {
		_, _ = r.fork(ctx, e, forks, claimWait)
	}
}

// restoreOne makes a claim that goes on from another one's checkpoint. It asks again as the load does.
func (r *rig) restoreOne(ctx context.Context) {
	e, err := r.one(ctx, "")
	if err != nil {
		return
	}
	saved, err := r.save(ctx, e, true)
	if err != nil {
		return
	}
	if _, err := r.restore(ctx, saved); err != nil && !unanswered(err) {
		r.out.note("claim from checkpoint %s: %v", saved, err)
	}
}

// The sizes hold until the daemon starts anew.
const defaultPool = "/v1/pools/default"

// useOne claims a sandbox and releases it, so that the pool has to start another.
func (r *rig) useOne(ctx context.Context) {
	if e, err := r.one(ctx, ""); err == nil {
		_ = r.release(ctx, e) // what became of it is looked for later
	}
}

func (r *rig) heatAll(ctx context.Context) { r.heat(ctx, r.target) }

func (r *rig) heatNone(ctx context.Context) { r.heat(ctx, 0) }

func (r *rig) heat(ctx context.Context, hot int) {
	r.tell(ctx, http.MethodPut, defaultPool, fmt.Sprintf(`{"target": %d, "hot": %d}`, 2*r.target, hot))
	pause(ctx, 2*time.Second)
}

func (r *rig) drain(ctx context.Context) {
	r.tell(ctx, http.MethodPost, defaultPool+"/drain", "")
	pause(ctx, 200*time.Millisecond)
	r.tell(ctx, http.MethodPut, defaultPool, fmt.Sprintf(`{"hold": false, "target": %d}`, r.target))
}

// unanswered tells whether a request may have been granted all the same: it was not refused, or by a daemon that could not tell.
func unanswered(err error) bool {
	answer, ok := errors.AsType[*wire.Error](err)
	return !ok || answer.Status >= http.StatusInternalServerError
}
