package main

import (
	"context"
	"fmt"
	"slices"

	"sandpool/daemon/wire"
)

// Why the daemon took a checkpoint.
const (
	byRequest = "request"
	byExpiry  = "expiry"
	byIdle    = "idle"
	byFork    = "fork"
)

// checkSaved compares the checkpoints that the daemon lists with those that were answered, and goes on from one of them.
func (r *rig) checkSaved(ctx context.Context) error {
	listed, err := r.client.Checkpoints(ctx)
	if err != nil {
		return err
	}
	found, made := map[string]bool{}, map[string]int{}
	for _, c := range listed {
		found[c.ID] = true
		made[c.Trigger+" of "+c.Claim]++
		r.checkWanted(ctx, c, made[c.Trigger+" of "+c.Claim])
	}
	tried := false
	for id, known := range r.book.saved {
		if !found[id] && !known.ending {
			r.out.lose("checkpoint %s, which was answered", id)
		}
		if found[id] && known.forgotten {
			r.out.leak("checkpoint %s was deleted and is back", id)
		}
		if found[id] && !known.ending && !tried {
			tried = true
			r.checkRestores(ctx, id)
		}
	}
	return nil
}

// checkWanted looks whether somebody has a use for a checkpoint, the nth for one reason of one claim.
func (r *rig) checkWanted(ctx context.Context, c wire.Checkpoint, nth int) {
	e, known := r.book.of(c.Claim)
	switch {
	case c.Trigger == byFork, c.Trigger == byIdle && !await(ctx, useTimeout, func(ctx context.Context) bool { return r.needed(ctx, c) }):
		r.out.leak("checkpoint %+v of which nobody will go on", c)
	case c.Trigger == byExpiry && nth > 1, c.Trigger == byIdle && nth > 1:
		r.out.leak("checkpoint %+v is the %dth of its kind", c, nth)
	case c.Trigger == byRequest && r.book.saved[c.ID] == nil && known:
		if e.saving--; e.saving < 0 {
			r.out.leak("nobody asked for checkpoint %+v", c)
		}
		r.book.set(func() { r.book.entries[c.Claim].saving = e.saving })
	}
}

// needed tells whether a claim is to be woken from a checkpoint, or the checkpoint is gone. It is neither at once: an idle claim
// goes to rest while this looks.
func (r *rig) needed(ctx context.Context, c wire.Checkpoint) bool {
	claim, err := r.client.Get(ctx, c.Claim)
	if err == nil && claim.State == wire.ClaimSuspended {
		return true
	}
	_, err = r.client.GetCheckpoint(ctx, c.ID)
	return isGone(err)
}

// checkRestores claims from a checkpoint and looks whether what was saved is there.
func (r *rig) checkRestores(ctx context.Context, id string) {
	e, err := r.restore(ctx, id)
	if err == nil {
		err = r.tryHeld(ctx, *e)
	}
	if err != nil {
		r.out.lose("what checkpoint %s saved: %v", id, err)
	}
}

// checkForks looks at the claims of forks, which have no request ids: all of them or none, and none that nobody asked for.
func (r *rig) checkForks(claims []wire.Claim) {
	unknown := map[string]int{} // claims of no answered fork, by checkpoint
	for _, c := range claims {
		e, answered := r.book.of(c.ID)
		switch {
		case c.RequestID != "": // its client asks again
		case !answered:
			unknown[c.Checkpoint]++
		case e.ended:
			r.out.leak("%s was released and is back", c.ID)
		}
	}
	for id, n := range unknown {
		if n != forks {
			r.out.leak("%d claims of a fork of %d, from %q", n, forks, id)
		}
	}
	if len(unknown) > r.book.forking {
		r.out.leak("nobody asked for the claims of forks %v", unknown)
	}
}

// clearSaved deletes every checkpoint.
func (r *rig) clearSaved(ctx context.Context) error {
	listed, err := r.client.Checkpoints(ctx)
	if err != nil {
		return err
	}
	for _, c := range listed {
		// One of a claim that was suspended is deleted with it.
		if err := r.client.DeleteCheckpoint(ctx, c.ID); err != nil && !isGone(err) {
			return fmt.Errorf("delete checkpoint: %w", err)
		}
	}
	return nil
}

// checkExpired looks whether each claim that came to its end was saved before, or its owner told why not.
func (r *rig) checkExpired(ctx context.Context, e entry) {
	if e.claim.Grace == 0 || !e.over() {
		return
	}
	if !await(ctx, useTimeout, func(ctx context.Context) bool {
		listed, err := r.client.Checkpoints(ctx)
		ended := slices.ContainsFunc(listed, func(c wire.Checkpoint) bool { return c.Claim == e.claim.ID && c.Trigger == byExpiry })
		_, eventsErr := r.client.Events(ctx, "", e.claim.ID, false, func(event wire.Event) error {
			ended = ended || event.Kind == "checkpoint_failed" || event.Kind == "died"
			return nil
		})
		return err == nil && eventsErr == nil && ended
	}) {
		r.out.lose("%s came to its end, and nobody says what became of its checkpoint", e.claim.ID)
	}
}
