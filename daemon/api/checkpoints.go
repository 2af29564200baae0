package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/containerd/errdefs"
	"go.opentelemetry.io/otel/trace"

	"sandpool/daemon/begin"
	"sandpool/daemon/telemetry"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/checkpoint"
)

// maxComment is the longest comment of a checkpoint, in bytes.
const maxComment = 256

// checkpointClaim saves a claim's sandbox.
func (a *api) checkpointClaim(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	var body wire.CheckpointRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if len(body.Comment) > maxComment {
		return invalid("comment: %d bytes: want at most %d", len(body.Comment), maxComment)
	}
	if wire.Printable(body.Comment) != body.Comment {
		return invalid("comment: has a line break or another control character in it: want one line of text")
	}
	ctx := context.WithoutCancel(r.Context()) // a save whose client has gone is finished: nobody can tell which half was done
	var m checkpoint.Manifest
	if body.Stop {
		m, err = a.Keeper.Retire(ctx, claim.ID, body.Comment)
	} else {
		m, err = a.Keeper.Take(ctx, claim.ID, checkpoint.TriggerRequest, body.Comment)
	}
	if err != nil {
		return cmp.Or(a.lost(claim), err)
	}
	return answerJSON(w, http.StatusCreated, wireCheckpoint(m))
}

// forkClaim makes claims that go on from the present moment of a claim's sandbox, all of them or none.
func (a *api) forkClaim(w http.ResponseWriter, r *http.Request) error {
	claim, err := a.find(r)
	if err != nil {
		return err
	}
	var body wire.ForkRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	who, _ := actorOf(r.Context())
	req := pool.Request{Template: claim.SandboxTemplate(), Owner: who.owner(), Quota: a.quota(who), Given: claim.Given, Metadata: claim.Metadata, Begin: (&begin.Work{Tools: a.tools()}).Do}
	if body.Count == 0 {
		body.Count = 1
	}
	if body.Count < 0 || body.Count > wire.MaxForks {
		return invalid("count: %d: want 1 to %d", body.Count, wire.MaxForks)
	}
	if err := errors.Join(a.setWait(body.Wait, &req), a.setLifetime(body.Type, body.Lifetime, &req)); err != nil {
		return err
	}
	if err := a.roomFor(body.Count, req.Template); err != nil {
		return err
	}
	leave, err := a.crowd.claims.take(who)
	if err != nil {
		return err
	}
	defer leave()
	ctx, span := a.Tracer.Start(r.Context(), "fork", trace.WithAttributes(telemetry.AttrClaim.String(claim.ID)))
	forks, err := a.saveAndFork(ctx, claim, req, body.Count)
	telemetry.End(span, err)
	if err != nil {
		return err
	}
	list := wire.ClaimList{}
	for _, fork := range forks {
		list.Claims = append(list.Claims, wireClaim(fork))
	}
	if err := answerJSON(w, http.StatusCreated, list); err != nil {
		a.takeBack(r.Context(), err, forks...)
	}
	return nil
}

// saveAndFork makes n claims that go on from a checkpoint that is for them alone.
func (a *api) saveAndFork(ctx context.Context, claim pool.Claim, req pool.Request, n int) ([]pool.Claim, error) {
	m, err := a.Keeper.Take(context.WithoutCancel(ctx), claim.ID, checkpoint.TriggerFork, "")
	if err != nil {
		return nil, cmp.Or(a.lost(claim), err)
	}
	req.Checkpoint = m.ID
	var forks []pool.Claim
	if err = setNetwork(nil, &req, m); err == nil {
		forks, err = a.fork(ctx, req, n)
	}
	// As long as the checkpoint is there a start takes the forks for unanswered, and ends them.
	if dropErr := a.Shelf.Delete(m.ID); dropErr != nil && !errdefs.IsNotFound(dropErr) {
		a.takeBack(ctx, dropErr, forks...)
		err = errors.Join(err, dropErr)
	}
	return forks, err
}

// roomFor refuses forks of which some could never start.
func (a *api) roomFor(n int, template string) error {
	for _, p := range a.Pools() {
		if p.Template == template && n > p.Max {
			return invalid("count: %d: pool %s holds at most %d sandboxes (max)", n, p.Name, p.Max)
		}
	}
	return nil
}

// fork makes n claims of one request at once. When one fails the others are given up or taken back.
func (a *api) fork(ctx context.Context, req pool.Request, n int) ([]pool.Claim, error) {
	forks := make([]pool.Claim, n)
	forking, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			var err error
			if forks[i], _, err = a.grant(forking, req); err != nil {
				giveUp(err)
			}
		})
	}
	all.Wait()
	if err := context.Cause(forking); err != nil {
		a.takeBack(ctx, err, forks...)
		return nil, fmt.Errorf("fork: %w", err)
	}
	return forks, nil
}

func (a *api) listCheckpoints(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	list := wire.CheckpointList{Checkpoints: []wire.Checkpoint{}}
	for _, m := range a.Shelf.List() {
		if who.sees(m.Owner) {
			list.Checkpoints = append(list.Checkpoints, wireCheckpoint(m))
		}
	}
	return answerJSON(w, http.StatusOK, list)
}

func (a *api) getCheckpoint(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	m, err := a.findCheckpoint(who, r.PathValue("id"))
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, wireCheckpoint(m))
}

func (a *api) deleteCheckpoint(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	m, err := a.findCheckpoint(who, r.PathValue("id"))
	if err != nil {
		return err
	}
	for _, c := range a.Claims.Claims() {
		if c.Rest == pool.Suspended && c.Saved == m.ID {
			return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("checkpoint %s is what claim %s is woken from: release the claim instead", m.ID, c.ID))
		}
	}
	if err := a.Shelf.Delete(m.ID); err != nil {
		return err
	}
	a.Log.Info("checkpoint deleted", "checkpoint", m.ID, "claim", m.Claim, "by", who.owner())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// findCheckpoint returns a checkpoint. One of somebody else's does not exist as far as the caller can tell.
func (a *api) findCheckpoint(who actor, id string) (checkpoint.Manifest, error) {
	if !checkpoint.ValidID(id) {
		return checkpoint.Manifest{}, invalid("checkpoint id %q: want \"ck-\" and 16 of the characters a-z and 2-7", id)
	}
	m, err := a.Shelf.Get(id)
	if errdefs.IsNotFound(err) || err == nil && !who.sees(m.Owner) {
		return checkpoint.Manifest{}, errdefs.ErrNotFound.WithMessage(fmt.Sprintf("checkpoint %s does not exist", id))
	}
	return m, err
}

func wireCheckpoint(m checkpoint.Manifest) wire.Checkpoint {
	return wire.Checkpoint{
		ID: m.ID, CreatedAt: m.CreatedAt, Claim: m.Claim, Sandbox: m.Sandbox, Template: m.Template, Owner: m.Owner,
		Trigger: m.Trigger, Comment: m.Comment, Parent: m.Parent, Bytes: m.Bytes,
		Runsc: m.Compatibility.Runsc, Platform: m.Compatibility.Platform, Image: m.Compatibility.Image, ImageDigest: m.Compatibility.ImageDigest,
	}
}
