package main

import (
	"context"
	"fmt"
	"time"

	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// extend puts a claim's end off and checks how far the answer says that it was.
func (r *rig) extend(ctx context.Context, e *entry) error {
	r.book.set(func() { e.extending++ })
	now, err := r.client.Extend(ctx, e.claim.ID)
	if err != nil {
		if !unanswered(err) {
			r.book.set(func() { e.extending-- })
		}
		return err
	}
	r.book.set(func() {
		if problem := e.checkEnd(now); problem != nil {
			r.out.note("extension of %s: %v", e.claim.ID, problem)
		}
		e.claim, e.extending = now, 0
	})
	return nil
}

// checkEnd compares a claim's end with what its client knows: each extension that was answered counts, once, and one that was
// not may.
func (e entry) checkEnd(now wire.Claim) error {
	more := now.Extended - e.claim.Extended
	end := e.claim.ExpiresAt.Add(time.Duration(more) * now.Lifetime.Std() / 2)
	if more < 0 || more > e.extending || !now.ExpiresAt.Equal(end) {
		return fmt.Errorf("it was extended %d times until %s, and %d more were asked for; it has %d extensions and ends at %s",
			e.claim.Extended, e.claim.ExpiresAt, e.extending, now.Extended, now.ExpiresAt)
	}
	return nil
}

// save takes a checkpoint of a claim, and ends the claim if it is to stop. It returns the checkpoint's id.
func (r *rig) save(ctx context.Context, e *entry, stop bool) (string, error) {
	r.book.set(func() { e.saving, e.ending = e.saving+1, e.ending || stop })
	c, err := r.client.Checkpoint(ctx, e.claim.ID, wire.CheckpointRequest{Stop: stop})
	if err != nil {
		return "", err
	}
	r.book.set(func() { e.saving, e.ended = e.saving-1, e.ended || stop })
	r.book.keep(c.ID, e)
	return c.ID, nil
}

// forget deletes a checkpoint.
func (r *rig) forget(ctx context.Context, id string) error {
	var known *saved
	r.book.set(func() { known = r.book.saved[id]; known.ending = true })
	err := r.client.DeleteCheckpoint(ctx, id)
	if err == nil {
		r.book.set(func() { known.forgotten = true })
	}
	return err
}

// restore makes a claim that goes on from a checkpoint.
func (r *rig) restore(ctx context.Context, id string) (*entry, error) {
	e, err := r.claimAs(ctx, wire.ClaimRequest{RequestID: newRequest(), Checkpoint: id}, claimWait)
	if err == nil {
		r.book.set(func() { e.mark = r.book.saved[id].mark })
	}
	return e, err
}

// fork makes n claims that go on from the present moment of another.
func (r *rig) fork(ctx context.Context, e *entry, n int, wait time.Duration) ([]*entry, error) {
	limit := lifetime.Duration(wait)
	r.book.set(func() { r.book.forking++ })
	made, err := r.client.Fork(ctx, e.claim.ID, wire.ForkRequest{Count: n, Wait: &limit})
	if err != nil {
		return nil, err
	}
	r.book.set(func() { r.book.forking-- })
	if len(made) != n {
		r.out.note("fork of %s: %d claims, want %d", e.claim.ID, len(made), n)
	}
	var all []*entry
	for _, claim := range made {
		fork := r.enter(claim)
		r.book.set(func() { fork.mark = e.mark })
		all = append(all, fork)
	}
	return all, nil
}
