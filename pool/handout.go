package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"sandpool/lifetime"
	"sandpool/pool/label"
)

// unbegun is why a sandbox is destroyed whose claim failed at that. It is in labels, where what the sandbox says has no place.
const unbegun = "what had to be done in it before its claim was answered failed"

// beginError is what Request.Begin failed with.
type beginError struct{ error }

func (e beginError) Unwrap() error { return e.error }

// handOut makes the claim durable, resumes the sandbox and enters the claim. s is doomed when any of it fails,
// and also when ctx ended meanwhile: nobody would ever release it. From before the label until right before the answer the
// sandbox is marked as promised, so that the next start can tell a claim that was never answered.
func (c *Controller) handOut(ctx context.Context, s *sandbox, req Request) (Claim, error) {
	record := s.record
	record.State = Claimed
	now := time.Now()
	record.Grant = Grant{
		ID: newClaimID(), Owner: req.Owner, RequestID: req.RequestID, Template: req.Template, Tier: s.tier(req),
		From: s.from, Given: req.Given, Metadata: req.Metadata, ClaimedAt: now, Lease: lifetime.NewLease(req.Kind, req.Lifetime, now),
	}
	var err error
	if record.Network, err = req.joined(c.networkOf(s)); err != nil { // its template has changed since the claim was let in
		err = beginError{err}
	} else {
		err = c.prepare(ctx, s, record, req)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && s.died != "":
		err = fmt.Errorf("sandbox died: %s", s.died)
	case errors.As(err, new(beginError)) && s.died != "":
		err = fmt.Errorf("%w: sandbox died: %s", err, s.died)
	case err == nil:
		err = context.Cause(ctx)
	}
	if err == nil {
		err = c.moveLocked(s, Claimed)
	}
	if err != nil {
		why := err.Error()
		if errors.As(err, new(beginError)) {
			why = unbegun
		}
		c.terminateLocked(s, why)
		return Claim{}, err
	}
	s.paused, s.record = false, record
	s.waitedFor = !s.settled
	s.how.Schedule = max(0, s.begun.Sub(req.asked))
	s.usedAt = time.Now()
	c.answeredLocked(req.Owner)
	c.enterLocked(s)
	c.tell(Event{Kind: EventClaimed, Claim: s.claim(), Message: "claimed from " + s.pool.Name})
	return s.claim(), nil
}

// prepare does all of a hand-out that a crash must not undo, even if asked ends: but for what the claim asks to be done in the sandbox.
func (c *Controller) prepare(asked context.Context, s *sandbox, r Record, req Request) error {
	ctx := context.WithoutCancel(asked)
	promised := c.backend.Promise(s.id)
	if promised != nil { // a crash before the answer would leave a claim that nobody knows of until its end; better than none at all
		c.log.Warn("sandbox is handed out without a mark that its claim is not answered yet", "sandbox", s.id, "err", promised)
	}
	c.step("claim reserved")
	var giving sync.WaitGroup // while the label is written: a sandbox that is paused takes it as it wakes
	var given error
	wakes, stays := context.WithCancel(ctx)
	defer stays()
	if len(req.Env) > 0 {
		giving.Go(func() { given = c.backend.Give(wakes, s.id, req.Env, s.from != "") })
	}
	labels := r.Labels()
	maps.Copy(labels, label.Replace(LabelNetwork, s.record.Network, r.Network))
	err := c.backend.Label(ctx, s.id, labels)
	c.step("claim labelled")
	if err == nil && s.paused {
		err = c.backend.Resume(ctx, s.id)
		c.step("claim resumed")
	}
	if err != nil {
		stays()
	}
	giving.Wait()
	err = errors.Join(err, given)
	if err == nil && req.Begin != nil {
		err = c.begin(asked, s, r, req)
	}
	if err == nil && promised == nil {
		err = c.backend.Fulfil(s.id)
		c.step("claim fulfilled")
	}
	return err
}

// begin does what the claim asks to be done in the sandbox before its answer.
func (c *Controller) begin(ctx context.Context, s *sandbox, r Record, req Request) error {
	claim := Claim{Grant: r.Grant, Sandbox: s.id, Pool: s.pool.Name, State: r.State, CreatedAt: r.CreatedAt, OnClaim: r.OnClaim, Network: r.Network}
	if err := req.Begin(ctx, claim); err != nil {
		return beginError{err}
	}
	c.step("claim begun")
	return nil
}

// enterLocked makes the claim of s known by its id and its request id.
func (c *Controller) enterLocked(s *sandbox) {
	g := s.record.Grant
	c.claims[g.ID] = s
	c.epoch++
	s.claimed = c.epoch
	if key := (requestKey{g.Owner, g.RequestID}); g.RequestID != "" && c.requests[key] == nil {
		done := make(chan struct{})
		close(done)
		c.requests[key] = &turn{done: done, claim: g.ID}
	}
	c.deadlines.Set(g.ID, g.Owner, s.lease())
}
