package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"go.opentelemetry.io/otel/trace"

	"sandpool/configs"
	"sandpool/daemon/api"
	"sandpool/lifetime/wait"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
)

// pruneEvery is how often checkpoints are looked at for their age.
const pruneEvery = time.Minute

// saver is what checkpoints need of the runtime.
type saver interface {
	Checkpoint(ctx context.Context, id, dir string) (checkpoint.Compatibility, error)
	Halt(ctx context.Context, id string) error
}

// retirer is what checkpoints need of the pools.
type retirer interface {
	Use(ctx context.Context, claim string) (pool.Claim, func(), error)
	Retire(ctx context.Context, claim string, save pool.Save) error
	Died(id, reason string) bool
	End(claim, why string)
	Claims() []pool.Claim
}

var (
	_ saver   = (*runtime.Engine)(nil)
	_ retirer = (*pool.Controller)(nil)

	_ api.Keeper = (*checkpoints)(nil)
)

// checkpoints saves the sandboxes of claims to disk, and deletes what the policy does not keep.
type checkpoints struct {
	*restorer

	saver  saver
	pools  retirer
	policy func() configs.Checkpoints
	tidy   func() // deletes the snapshots of templates that nothing goes on from
	// told is told how each attempt to save a claim's sandbox went.
	told   func(claim pool.Claim, m checkpoint.Manifest, trigger string, took time.Duration, err error)
	pruned func(checkpoint.Pruned) // is told of each that the policy did not keep
	tracer trace.Tracer

	pruning sync.Mutex
}

// Take saves a claim's sandbox, which runs on.
func (c *checkpoints) Take(ctx context.Context, claim, trigger, comment string) (m checkpoint.Manifest, err error) {
	ctx, saved := c.traceSave(ctx, claim, trigger)
	defer func() { saved(m, err) }()
	used, done, err := c.pools.Use(ctx, claim)
	if err != nil {
		return checkpoint.Manifest{}, err
	}
	defer done()
	return c.save(ctx, used, trigger, comment)
}

// Retire saves a claim's sandbox and ends the claim.
func (c *checkpoints) Retire(ctx context.Context, claim, comment string) (m checkpoint.Manifest, err error) {
	ctx, saved := c.traceSave(ctx, claim, checkpoint.TriggerRequest)
	defer func() { saved(m, err) }()
	err = c.pools.Retire(ctx, claim, func(ctx context.Context, claim pool.Claim) (string, error) {
		if claim.Rest == pool.Suspended { // it is on disk as it will never be again
			m, err = c.store.Retag(claim.Saved, checkpoint.TriggerRequest, comment, claim.Network)
		} else {
			m, err = c.save(ctx, claim, checkpoint.TriggerRequest, comment)
		}
		return m.ID, err
	})
	return m, err
}

// save writes the checkpoint of a sandbox that runs or is paused.
func (c *checkpoints) save(ctx context.Context, claim pool.Claim, trigger, comment string) (checkpoint.Manifest, error) {
	began := time.Now()
	m, err := c.write(ctx, claim, trigger, comment)
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == nil {
		c.giveUp(ctx, claim, err)
	}
	if errdefs.IsResourceExhausted(err) {
		err = errors.Join(api.ErrDiskFull, err)
	}
	if err != nil {
		err = fmt.Errorf("save sandbox of claim %s: %w", claim.ID, err)
	}
	if !errors.Is(context.Cause(ctx), context.Canceled) { // else the daemon stops
		c.told(claim, m, trigger, time.Since(began), err)
	}
	if err != nil {
		return checkpoint.Manifest{}, err
	}
	return m, nil
}

// write has the store write a checkpoint, unless there are secrets in it.
func (c *checkpoints) write(ctx context.Context, claim pool.Claim, trigger, comment string) (checkpoint.Manifest, error) {
	if claim.Given == pool.Secrets {
		return checkpoint.Manifest{}, errdefs.ErrFailedPrecondition.WithMessage(
			"the claim has secrets, which a checkpoint would write to disk: claim with checkpoint_secrets to allow that")
	}
	m, err := c.store.Create(ctx, checkpoint.Manifest{
		Claim: claim.ID, Sandbox: claim.Sandbox, Template: claim.SandboxTemplate(), Pool: claim.Pool, Owner: claim.Owner,
		Trigger: trigger, Comment: comment, Parent: claim.From, Network: claim.Network,
	}, func(ctx context.Context, dir string) (checkpoint.Compatibility, error) {
		return c.saver.Checkpoint(ctx, claim.Sandbox, dir)
	})
	if err == nil {
		err = c.fit(m)
	}
	return m, err
}

// fit makes room for a new checkpoint, or deletes it and says that there is none.
func (c *checkpoints) fit(m checkpoint.Manifest) error {
	c.pruneFor(m.ID)
	if _, err := c.store.Get(m.ID); err == nil {
		return nil
	}
	const mib = 1 << 20
	return fmt.Errorf("%w: %d MiB more are over the bounds of [checkpoints], and what others have or claims are woken from is kept: "+
		"delete checkpoints, release claims that are on disk, or have an operator raise the bounds", api.ErrNoRoom, (m.Bytes+mib-1)/mib)
}

// giveUp kills a sandbox that missed the deadline of a checkpoint: nobody knows what state it is in.
func (c *checkpoints) giveUp(ctx context.Context, claim pool.Claim, why error) {
	c.pools.Died(claim.Sandbox, why.Error())
	if err := c.saver.Halt(context.WithoutCancel(ctx), claim.Sandbox); err != nil {
		c.log.Error("sandbox that missed a deadline could not be halted", "sandbox", claim.Sandbox, "err", err)
	}
}

// ofExpiry returns the checkpoint that was taken of a claim at its grace period, if there is one.
func (c *checkpoints) ofExpiry(claim string) (checkpoint.Manifest, bool) {
	for _, m := range c.store.List() {
		if m.Claim == claim && m.Trigger == checkpoint.TriggerExpiry {
			return m, true
		}
	}
	return checkpoint.Manifest{}, false
}

// run deletes what grows too old until ctx ends.
func (c *checkpoints) run(ctx context.Context) { wait.Every(ctx, pruneEvery, c.prune) }

// prune deletes what the policy does not keep.
func (c *checkpoints) prune() { c.pruneFor("") }

// pruneFor is prune after a checkpoint was taken, which is deleted itself if it does not fit.
func (c *checkpoints) pruneFor(fresh string) {
	c.pruning.Lock()
	defer c.pruning.Unlock()
	c.tidy()
	p := c.policy()
	const mib = 1 << 20
	keep := c.kept()
	delete(keep, fresh)
	for _, v := range c.store.Prune(checkpoint.Policy{
		MaxAge: p.MaxAge.Std(), Keep: keep, Fresh: fresh,
		Each: checkpoint.Bounds{Count: p.MaxCountPerUser, Bytes: int64(p.MaxMiBPerUser) * mib},
		All:  checkpoint.Bounds{Count: p.MaxCount, Bytes: int64(p.MaxMiB) * mib},
	}, time.Now()) {
		if v.ID != fresh { // that one was never there
			c.pruned(v)
		}
	}
}

// waking are the checkpoints that claims will be woken from.
func (c *checkpoints) waking() map[string]bool {
	keep := map[string]bool{}
	for _, claim := range c.pools.Claims() {
		if claim.Rest == pool.Suspended {
			keep[claim.Saved] = true
		}
	}
	return keep
}

// kept are the checkpoints that are kept whatever the policy says: those that sandboxes of templates, suspended claims and forks go
// on from, also before their claims say so.
func (c *checkpoints) kept() map[string]bool {
	keep, lives := c.waking(), map[string]bool{}
	for _, claim := range c.pools.Claims() {
		lives[claim.ID] = true
	}
	for _, m := range c.store.List() {
		switch m.Trigger {
		case checkpoint.TriggerTemplate, checkpoint.TriggerFork:
			keep[m.ID] = true
		case checkpoint.TriggerIdle:
			keep[m.ID] = keep[m.ID] || lives[m.Claim]
		}
	}
	return keep
}

// clear deletes the checkpoints of suspended claims that have ended, and of forks that a killed daemon left, and ends the claims
// of such a fork: their answer was never sent. It must not run beside a suspension or a fork.
func (c *checkpoints) clear() {
	keep := c.waking()
	c.endForks()
	for _, m := range c.store.List() {
		if (m.Trigger == checkpoint.TriggerIdle || m.Trigger == checkpoint.TriggerFork) && !keep[m.ID] {
			c.discard(m.ID)
		}
	}
}

// endForks ends the claims of forks that were not answered: their checkpoint is still there.
func (c *checkpoints) endForks() {
	for _, claim := range c.pools.Claims() {
		if m, err := c.store.Get(claim.From); err == nil && m.Trigger == checkpoint.TriggerFork {
			c.pools.End(claim.ID, "the daemon was killed before it could answer the fork")
		}
	}
}
