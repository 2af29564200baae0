package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// Save writes a sandbox that is paused to disk and returns the name of its checkpoint.
type Save func(ctx context.Context, claim Claim) (checkpoint string, err error)

// Use returns a claim whose sandbox runs, waking it if it rests or another program has paused it, and keeps it awake until done is
// called. A claim that is unknown or has ended is an error of class NotFound, one that is dead of class FailedPrecondition.
func (c *Controller) Use(ctx context.Context, claim string) (_ Claim, done func(), err error) {
	if s, ok := c.useAwake(claim); ok {
		used, done := c.using(s)
		status, err := c.backend.Status(ctx, s.id)
		if err == nil && status != Paused {
			return used, done, nil
		}
		done()
		if err != nil {
			return Claim{}, nil, fmt.Errorf("look at claim %s: %w", claim, err)
		}
		// Another program has paused it: what is started in it now would wait for ever.
	}
	s, over, err := c.turn(ctx, claim)
	if err != nil {
		return Claim{}, nil, err
	}
	defer over()
	if err := c.awaken(context.WithoutCancel(ctx), s); err != nil {
		return Claim{}, nil, fmt.Errorf("wake claim %s: %w", claim, err)
	}
	used, done := c.using(s)
	return used, done, nil
}

// useAwake counts one more use of a claim whose sandbox runs; false if it does not.
func (c *Controller) useAwake(claim string) (*sandbox, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.claims[claim]
	if s == nil || s.state != Claimed || s.dozing || s.record.Rest != Awake {
		return nil, false
	}
	s.users++
	return s, true
}

// using returns the claim of a sandbox whose use was counted, and what ends that use.
func (c *Controller) using(s *sandbox) (Claim, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.claim(), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.users--
		s.usedAt = time.Now()
	}
}

// dozeLocked says that the holder of a claim's turn begins to put its sandbox to rest or to wake it, or has ended that.
func (c *Controller) dozeLocked(s *sandbox, dozing bool) {
	s.dozing = dozing
	c.epoch++
	s.changed = c.epoch // what was seen of it before is old
}

// awaken lets a claim's sandbox run and counts its use. The caller has its turn.
func (c *Controller) awaken(ctx context.Context, s *sandbox) error {
	record, status, err := c.rouse(ctx, s)
	if err != nil {
		return err
	}
	switch {
	case record.Rest == IdlePaused && status != Running:
		err = c.turned(ctx, s, Running, c.backend.Resume)
	case record.Rest == Suspended:
		if err = c.backend.Halt(ctx, s.id); err == nil { // it may not have been halted whole
			err = c.backend.Revive(ctx, s.id, record.Saved)
		}
	}
	if err != nil {
		c.spoil(s, record.Rest, err)
		return err
	}
	if record.Rest != Awake {
		c.step("wake resumed")
		// That it runs is what counts after a crash: the label only says what was meant, so one that failed does no harm.
		if err := c.backend.Label(ctx, s.id, restLabels(Awake, "")); err != nil {
			c.log.Warn("woken sandbox could not be labelled", "sandbox", s.id, "err", err)
		}
		c.step("wake labelled")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dozeLocked(s, false)
	if s.state != Claimed {
		return ended(record.Grant.ID)
	}
	s.users++
	if record.Rest != Awake {
		c.restLocked(s, Awake, "", "woken")
	}
	return nil
}

// rouse begins to wake a claim's sandbox: it returns how it rests, and what it really does unless it is suspended. s.dozing stays
// set, but after an error.
func (c *Controller) rouse(ctx context.Context, s *sandbox) (record Record, status Status, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.state != Claimed {
		return s.record, "", fmt.Errorf("it is dead: %s: %w", s.record.Reason, errdefs.ErrFailedPrecondition)
	}
	c.dozeLocked(s, true)
	if s.record.Rest == Suspended {
		return s.record, "", nil
	}
	c.mu.Unlock()
	status, err = c.backend.Status(ctx, s.id)
	c.mu.Lock()
	switch {
	case err != nil:
		c.dozeLocked(s, false)
	case status == Paused && s.record.Rest == Awake:
		c.foundLocked(s, IdlePaused, byOther)
	}
	return s.record, status, err
}

// turned pauses or resumes a sandbox. That another program was faster is no error.
func (c *Controller) turned(ctx context.Context, s *sandbox, want Status, turn func(context.Context, string) error) error {
	err := turn(ctx, s.id)
	if err != nil {
		if status, unseen := c.backend.Status(ctx, s.id); unseen == nil && status == want {
			return nil
		}
	}
	return err
}

// Pause puts the sandbox of a claim that nobody uses to rest. That it is in use is an error of class FailedPrecondition.
func (c *Controller) Pause(ctx context.Context, claim string) error {
	s, done, err := c.turn(ctx, claim)
	if err != nil {
		return err
	}
	defer done()
	if err := c.freeze(ctx, s, false); err != nil {
		return fmt.Errorf("pause claim %s: %w", claim, err)
	}
	return c.settleRest(s, IdlePaused, "", "paused, since it was idle")
}

// freeze pauses a claim's sandbox if it runs. The label comes first, so that what a crash leaves paused was meant to be. s.dozing
// stays set until settleRest, or until an error. It is done whole even if ctx ends: half of it would cost the claim its sandbox.
func (c *Controller) freeze(ctx context.Context, s *sandbox, inUse bool) (err error) {
	ctx = context.WithoutCancel(ctx)
	c.mu.Lock()
	record := s.record
	switch {
	case s.state != Claimed:
		err = fmt.Errorf("it is %s: %w", s.state, errdefs.ErrFailedPrecondition)
	case s.users > 0 && !inUse:
		err = fmt.Errorf("it is in use: %w", errdefs.ErrFailedPrecondition)
	case record.Rest == Suspended:
		err = fmt.Errorf("it is suspended: %w", errdefs.ErrFailedPrecondition)
	default:
		c.dozeLocked(s, true)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	status, err := c.backend.Status(ctx, s.id)
	if err != nil {
		c.spoil(s, Awake, err)
		return err
	}
	if record.Rest == IdlePaused && status == Paused {
		return nil
	}
	err = c.backend.Label(ctx, s.id, restLabels(IdlePaused, ""))
	c.step("rest labelled")
	if err == nil && status != Paused {
		err = c.turned(ctx, s, Paused, c.backend.Pause)
		c.step("rest paused")
	}
	if err != nil {
		c.spoil(s, IdlePaused, err)
	}
	return err
}

// spoil ends an attempt to put a claim's sandbox to rest or to wake it. One that has processes is in an unknown state then, and
// given up, unless containerd is only away; one on disk can be tried again, unless it is there no longer.
func (c *Controller) spoil(s *sandbox, rest Rest, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dozeLocked(s, false)
	lost := rest == Suspended && errdefs.IsNotFound(err)
	if lost {
		s.record.Rest, s.record.Saved = Awake, ""
	}
	if lost || rest == IdlePaused && !errdefs.IsUnavailable(err) {
		c.diedLocked(s, err.Error())
	}
}

// settleRest notes how a claim's sandbox rests, and ends what freeze began.
func (c *Controller) settleRest(s *sandbox, rest Rest, saved, message string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dozeLocked(s, false)
	if s.state != Claimed {
		return ended(s.record.Grant.ID)
	}
	c.restLocked(s, rest, saved, message)
	return nil
}

// restLocked notes how a claim's sandbox rests, or that it does no more, and tells of it.
func (c *Controller) restLocked(s *sandbox, rest Rest, saved, message string) {
	kind := map[Rest]string{Awake: EventResumed, IdlePaused: EventPaused, Suspended: EventSuspended}[rest]
	if rest == Awake && s.record.Rest == Suspended {
		kind = EventRestored
	}
	s.record.Rest, s.record.Saved = rest, saved
	s.usedAt = time.Now()
	c.tell(Event{Kind: kind, Claim: s.claim(), Message: message})
}

// Suspend writes the sandbox of a claim that rests to disk and frees its memory; the next use brings it back.
func (c *Controller) Suspend(ctx context.Context, claim string, save Save) error {
	s, done, err := c.turn(ctx, claim)
	if err != nil {
		return err
	}
	defer done()
	if err := c.freeze(ctx, s, false); err != nil {
		return fmt.Errorf("suspend claim %s: %w", claim, err)
	}
	checkpoint, err := save(ctx, c.claimOf(s))
	if err == nil {
		c.step("suspend saved")
		err = c.backend.Label(ctx, s.id, restLabels(Suspended, checkpoint))
	}
	if err != nil {
		_ = c.settleRest(s, IdlePaused, "", "it stays paused: "+err.Error())
		return fmt.Errorf("suspend claim %s: %w", claim, err)
	}
	c.step("suspend labelled")
	haltErr := c.backend.Halt(context.WithoutCancel(ctx), s.id)
	c.step("suspend halted")
	if err := c.settleRest(s, Suspended, checkpoint, "written to disk as "+checkpoint+", since it was idle"); err != nil {
		return err
	}
	if haltErr != nil { // what is left of it stays paused, and is halted before the claim is woken
		return fmt.Errorf("free the memory of claim %s: %w", claim, haltErr)
	}
	return nil
}

// Retire saves a claim's sandbox and ends the claim: nothing of it runs after the moment that was saved. A claim that is suspended
// is passed to save as that. When it cannot be saved the claim lives on. Retire returns when the end is written down; see
// Release for how that may fail.
func (c *Controller) Retire(ctx context.Context, claim string, save Save) error {
	s, err := c.retire(ctx, claim, save)
	if err != nil {
		return fmt.Errorf("save claim %s: %w", claim, err)
	}
	c.step("release begun")
	return s.awaitEnd(ctx)
}

func (c *Controller) retire(ctx context.Context, claim string, save Save) (*sandbox, error) {
	s, done, err := c.turn(ctx, claim)
	if err != nil {
		return nil, err
	}
	defer done()
	suspended := c.claimOf(s).Rest == Suspended
	if !suspended {
		if err := c.freeze(ctx, s, true); err != nil {
			return nil, err
		}
	}
	checkpoint, err := save(ctx, c.claimOf(s))
	switch {
	case err == nil:
		c.endSaved(s, checkpoint)
	case !suspended:
		c.thaw(context.WithoutCancel(ctx), s)
	}
	return s, err
}

// endSaved ends a claim that was saved, unless it has ended meanwhile.
func (c *Controller) endSaved(s *sandbox, checkpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dozeLocked(s, false)
	if c.claims[s.record.Grant.ID] == s {
		c.endLocked(s, released)
		c.tell(Event{Kind: EventReleased, Claim: s.claim(), Message: "released, saved as " + checkpoint})
	}
}

// thaw lets a sandbox that was frozen in vain go on. The caller has its turn.
func (c *Controller) thaw(ctx context.Context, s *sandbox) {
	c.mu.Lock()
	c.dozeLocked(s, false)
	s.record.Rest = IdlePaused
	c.mu.Unlock()
	if err := c.awaken(ctx, s); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.users--
	}
}

// End ends a claim for a reason of the daemon's own, such as that it was idle for too long. It does not wait.
func (c *Controller) End(claim, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.claims[claim]; ok {
		c.endLocked(s, why)
	}
}

// IdleSince returns since when nobody has used a claim's sandbox, or since when it rests; false while it is in use, changes,
// or is dead.
func (c *Controller) IdleSince(claim string) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.claims[claim]
	if !ok || s.state != Claimed || s.users > 0 || s.dozing {
		return time.Time{}, false
	}
	return s.usedAt, true
}

func (c *Controller) claimOf(s *sandbox) Claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.claim()
}
