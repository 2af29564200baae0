package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/pool/label"
)

// Status is what containerd says of a sandbox's task.
type Status string

// What may have become of it.
const (
	Running Status = "running"
	Paused  Status = "paused"
	Stopped Status = "stopped" // it ended, or there is no task
)

// Found is a container as the runtime lists it.
type Found struct {
	ID       string
	Labels   map[string]string
	Status   Status
	Promised bool   // it was being handed out, and its claim was not answered; see Promiser
	Reason   string // how it ended, if that is known
}

// byOther is who changed a sandbox behind the daemon's back.
const byOther = "by another program than the daemon"

// neverAnswered is why a claim ends at a start whose answer cannot have been sent.
const neverAnswered = "the daemon ended before it could answer the claim"

// Report counts what a reconciliation did.
type Report struct {
	Warm        int // sandboxes taken into a pool
	Claims      int // claims taken over
	Dead        int // claims whose sandbox was found dead
	Terminating int // sandboxes to be destroyed
	Foreign     int // containers without our labels; they are left alone
}

// Reconcile compares what the controller knows with what list finds, and mends the difference: at start it adopts what
// is sound and dooms the rest, later it notices what ended unseen. What changes while list runs is left to the next time.
func (c *Controller) Reconcile(ctx context.Context, list func(context.Context) ([]Found, error)) (Report, error) {
	c.mu.Lock()
	since := c.epoch
	c.mu.Unlock()
	found, err := list(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("list sandboxes: %w", err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.loop.Wake()
	slices.SortFunc(found, inOrder)
	var report Report
	listed := map[string]bool{}
	if err := newer(found); err != nil {
		return Report{}, err
	}
	for _, f := range found {
		listed[f.ID] = true
		s, known := c.sandboxes[f.ID]
		switch {
		case !known && c.gone[f.ID] == 0:
			c.adoptLocked(f, &report)
		case known && s.changed <= since:
			c.compareLocked(s, f, &report)
		}
	}
	for id, s := range c.sandboxes {
		if !listed[id] && s.changed <= since {
			c.vanishedLocked(s, &report)
		}
	}
	for id, epoch := range c.gone {
		if epoch <= since {
			delete(c.gone, id)
		}
	}
	return report, nil
}

// inOrder is the order of adoption. Claims are first: they are kept in any case, and ready sandboxes only as far as there is room
// beside them. Then the oldest is: what is adopted first counts as older.
func inOrder(a, b Found) int {
	first, key := 0, LabelCreated
	switch claimA, claimB := a.Labels[LabelClaim] != "", b.Labels[LabelClaim] != ""; {
	case claimA && claimB:
		key = LabelClaimed
	case claimA:
		first = -1
	case claimB:
		first = 1
	}
	timeA, _ := label.Time(a.Labels, key) // labels that cannot be read are refused later
	timeB, _ := label.Time(b.Labels, key)
	return cmp.Or(first, timeA.Compare(timeB), strings.Compare(a.ID, b.ID))
}

// expected is the status that a sandbox should have; "" while it changes.
func (s *sandbox) expected() Status {
	switch {
	case s.state == Available, s.state == Claimed && s.record.Rest == IdlePaused && !s.dozing:
		return Paused
	case s.state == Hot, s.state == Claimed && s.record.Rest == Awake && !s.dozing:
		return Running
	default: // of one that is suspended something may be left, which its next use ends
		return ""
	}
}

// compareLocked notices that a sandbox is not in the state it should be in.
func (c *Controller) compareLocked(s *sandbox, found Found, report *Report) {
	switch want := s.expected(); {
	case want == "" || want == found.Status:
	case s.state != Claimed:
		report.Terminating++
		c.diedLocked(s, found.explain(fmt.Sprintf("it is %s, labelled %q", found.Status, s.state)))
	case found.Status == Stopped:
		report.Dead++
		c.diedLocked(s, found.explain("its processes ended"))
	default:
		c.foundLocked(s, restOf(found.Status), byOther)
	}
}

// explain adds to what was found how it came to be.
func (f Found) explain(what string) string {
	if f.Reason == "" {
		return what
	}
	return what + ": " + f.Reason
}

// vanishedLocked notices that the container of a sandbox is gone.
func (c *Controller) vanishedLocked(s *sandbox, report *Report) {
	switch {
	case s.state == Available, s.state == Hot:
		report.Terminating++
	case s.state == Claimed && !s.dozing:
		report.Dead++
		s.record.Rest, s.record.Saved = Awake, "" // nothing is left to be woken
	default:
		return
	}
	c.diedLocked(s, "its container was deleted "+byOther)
}

// Look compares one sandbox with what the backend says of it, when seen, its status as an event tells, is not what it should
// be. Events come late, so seen itself proves nothing.
func (c *Controller) Look(ctx context.Context, id string, seen Status) {
	c.mu.Lock()
	s, since := c.sandboxes[id], c.epoch
	expected := s == nil || s.expected() == "" || s.expected() == seen
	c.mu.Unlock()
	if expected {
		return
	}
	status, err := c.backend.Status(ctx, id)
	if err != nil {
		c.log.Warn("sandbox was changed by another program, and cannot be looked at", "sandbox", id, "err", err)
		return // the next listing tells
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.changed <= since {
		c.compareLocked(s, Found{Status: status}, &Report{})
	}
}

// foundLocked notes that a claim's sandbox was paused, resumed or woken without the controller, and by whom.
func (c *Controller) foundLocked(s *sandbox, rest Rest, by string) {
	what := "paused"
	switch {
	case rest == Awake && s.record.Rest == Suspended:
		what = "woken"
	case rest == Awake:
		what = "resumed"
	}
	c.restLocked(s, rest, "", what+" "+by)
}

// restOf is how a claim's sandbox rests that has a task.
func restOf(status Status) Rest {
	if status == Paused {
		return IdlePaused
	}
	return Awake
}

// adoptLocked decides about a container that the controller did not know.
func (c *Controller) adoptLocked(f Found, report *Report) {
	if !label.Ours(f.Labels) {
		report.Foreign++
		return
	}
	r, err := ParseRecord(f.Labels)
	now := time.Now()
	if r.CreatedAt.After(now) {
		r.CreatedAt = now // the clock was set back since; else it would not age until then
	}
	p := c.pools[templateOf(r.Pool)]
	if p == nil { // of a template that the configuration has no longer
		p = newPool(Config{Name: r.Pool, Template: templateOf(r.Pool)})
	}
	switch {
	case err != nil:
		r.Grant = Grant{ID: f.Labels[LabelClaim], Owner: f.Labels[LabelOwner], Template: f.Labels[LabelTemplate]} // its end is told
		c.dismissLocked(p, f.ID, r, err.Error(), report)
	case f.Promised && f.Status != Stopped: // an answered one whose host went down may look like this, too, but has no task then
		c.dismissLocked(p, f.ID, r, neverAnswered, report)
	case isReady(r.State, f.Status) && r.Pool == p.Name && (p.Source == nil || r.Fingerprint == p.Source.Fingerprint()) && p.room(now) > 0:
		report.Warm++
		s := c.addLocked(p, f.ID, r)
		s.ready, s.settled, s.paused = true, true, r.State == Available
	case r.State == Claimed && (f.Status != Stopped || r.Rest == Suspended):
		report.Claims++
		s := c.addLocked(p, f.ID, r)
		s.usedAt = now
		c.enterLocked(s)
		// A daemon that was killed had written down what it meant to do: what counts is what is.
		if f.Status != Stopped && restOf(f.Status) != r.Rest {
			c.foundLocked(s, restOf(f.Status), "while the daemon was away or as it ended")
		}
	case r.State == Dead, r.State == Claimed && f.Status == Stopped:
		report.Dead++
		s := c.addLocked(p, f.ID, r)
		c.enterLocked(s)
		c.diedLocked(s, f.explain("its processes ended while the daemon was away"))
	case r.State == Terminating && r.Reason != "":
		c.dismissLocked(p, f.ID, r, r.Reason+", before the daemon was started again", report)
	default:
		c.dismissLocked(p, f.ID, r, fmt.Sprintf("it is %s, labelled %q", f.Status, r.State), report)
	}
}

// newer refuses sandboxes that a later version of the daemon labelled: this one would mistake them for left-overs.
func newer(found []Found) error {
	for _, f := range found {
		var newer *label.NewerError
		if _, err := ParseRecord(f.Labels); label.Ours(f.Labels) && errors.As(err, &newer) {
			return fmt.Errorf("sandbox %s: %w: start the newer one, or remove the container: %w", f.ID, err, errdefs.ErrFailedPrecondition)
		}
	}
	return nil
}

// isReady tells whether a container is as its label says, ready to be handed out.
func isReady(state State, status Status) bool {
	return state == Available && status == Paused || state == Hot && status == Running
}

// dismissLocked takes note of a sandbox only to destroy it.
func (c *Controller) dismissLocked(p *pool, id string, r Record, why string, report *Report) {
	report.Terminating++
	r.State = Terminating
	c.addLocked(p, id, r).why = why
	c.log.Info("sandbox is not adopted", "sandbox", id, "pool", p.Name, "reason", why)
}

// templateOf returns the second half of a pool's name.
func templateOf(name string) string {
	_, template, _ := strings.Cut(name, ":")
	return template
}
