package pool

import (
	"context"
	"time"

	"github.com/containerd/errdefs"
)

// Try makes a sandbox of a template known that no claim can get, lets use start it with the id and the labels and do with it
// what it likes, and destroys it. network is what it may connect to; see Source. The error is that of use. That there is no such template is one of class NotFound, that nothing
// may be started now of class Unavailable.
func (c *Controller) Try(ctx context.Context, template, network string, use func(ctx context.Context, id string, labels map[string]string) error) error {
	s, err := c.addTrial(template, network)
	if err != nil {
		return err
	}
	err = use(ctx, s.id, s.record.Labels())
	c.mu.Lock()
	c.terminateLocked(s, "it was a trial")
	c.mu.Unlock()
	select {
	case <-s.tried: // so that whoever looks after Try finds nothing of it
	case <-ctx.Done():
	}
	return err
}

func (c *Controller) addTrial(template, network string) (*sandbox, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.poolLocked(template)
	switch {
	case err != nil:
		return nil, err
	case c.outage != nil:
		return nil, c.outage
	}
	if reason := c.admit(); reason != "" {
		return nil, errdefs.ErrUnavailable.WithMessage("nothing is started: " + reason)
	}
	s := c.addLocked(p, c.newID(), Record{State: Warming, Pool: p.Name, Network: network, CreatedAt: time.Now()})
	s.trial = true
	return s, nil
}

// Prepared says what sandboxes of a template are started from from now on. Ready ones of another fingerprint are replaced one by one.
func (c *Controller) Prepared(template string, from Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pools[template]; p != nil {
		p.Source = from
		p.failures, p.degraded, p.retryAt = 0, "", time.Time{}
		c.loop.Wake()
	}
}

// Unprepared says why a template cannot be made ready. A pool that was prepared before goes on as it was.
func (c *Controller) Unprepared(template string, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pools[template]; p != nil && p.Source == nil {
		c.failedLocked(p, why)
	}
}
