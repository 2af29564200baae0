package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
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
	ID     string
	Labels map[string]string
	Status Status
	Reason string // how it ended, if that is known
}

// Report counts what a reconciliation did.
type Report struct {
	Warm    int // sandboxes taken into a pool
	Claims  int // claims taken over
	Dead    int // claims whose sandbox was found dead
	Doomed  int // sandboxes to be destroyed
	Foreign int // containers without our labels; they are left alone
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
	defer c.poke()
	// Claims first: they are kept in any case, and ready sandboxes only as far as there is room beside them.
	slices.SortStableFunc(found, func(a, b Found) int {
		return strings.Compare(b.Labels[LabelClaim], a.Labels[LabelClaim])
	})
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
			c.compareLocked(s, Found{Status: Stopped}, &report)
		}
	}
	for id, epoch := range c.gone {
		if epoch <= since {
			delete(c.gone, id)
		}
	}
	return report, nil
}

// compareLocked notices that a sandbox at rest is not in the state it should be in.
func (c *Controller) compareLocked(s *sandbox, found Found, report *Report) {
	switch {
	case s.state == Available && found.Status != Paused, s.state == Hot && found.Status != Running:
		report.Doomed++
		c.diedLocked(s, found.explain(fmt.Sprintf("it is %s, labelled %q", found.Status, s.state)))
	case s.state == Claimed && found.Status == Stopped && !s.dozing && s.record.Rest != Suspended:
		report.Dead++
		c.diedLocked(s, found.explain("its processes ended"))
	}
}

// explain adds to what was found how it came to be.
func (f Found) explain(what string) string {
	if f.Reason == "" {
		return what
	}
	return what + ": " + f.Reason
}

// adoptLocked decides about a container that the controller did not know.
func (c *Controller) adoptLocked(f Found, report *Report) {
	if !ours(f.Labels) {
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
		c.dismissLocked(p, f.ID, r, err.Error(), report)
	case isReady(r.State, f.Status) && r.Pool == p.Name && (p.Fingerprint == "" || r.Fingerprint == p.Fingerprint) && p.room(now) > 0:
		report.Warm++
		s := c.addLocked(p, f.ID, r)
		s.ready, s.settled, s.paused = true, true, r.State == Available
	case r.State == Claimed && rests(&r, f.Status):
		report.Claims++
		s := c.addLocked(p, f.ID, r)
		s.usedAt = now
		c.enterLocked(s)
	case r.State == Dead, r.State == Claimed && f.Status == Stopped:
		report.Dead++
		s := c.addLocked(p, f.ID, r)
		c.enterLocked(s)
		c.diedLocked(s, f.explain("its processes ended while the daemon was away"))
	default:
		// A claimed one that is paused was never handed out: the reply comes after the resume.
		c.dismissLocked(p, f.ID, r, fmt.Sprintf("it is %s, labelled %q", f.Status, r.State), report)
	}
}

// rests tells whether a claim's sandbox is in one of the ways that it can be in; r.Rest is then what it really is: a daemon
// that was killed had written down what it meant to do.
func rests(r *Record, status Status) bool {
	switch {
	case status == Running:
		r.Rest, r.Saved = Awake, ""
	case status == Paused && r.Rest != Awake:
		r.Rest, r.Saved = Asleep, ""
	default:
		return status == Stopped && r.Rest == Suspended
	}
	return true
}

// newer refuses sandboxes that a later version of the daemon labelled: this one would mistake them for left-overs.
func newer(found []Found) error {
	for _, f := range found {
		var newer *NewerError
		if _, err := ParseRecord(f.Labels); ours(f.Labels) && errors.As(err, &newer) {
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
	report.Doomed++
	r.State = Doomed
	c.addLocked(p, id, r)
	c.log.Info("sandbox is not adopted", "sandbox", id, "pool", p.Name, "reason", why)
}

func ours(labels map[string]string) bool {
	for key := range labels {
		if strings.HasPrefix(key, LabelPrefix) {
			return true
		}
	}
	return false
}

// templateOf returns the second half of a pool's name.
func templateOf(name string) string {
	_, template, _ := strings.Cut(name, ":")
	return template
}
