package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
)

// tellTimeout bounds how long a message into a sandbox may take: it must not keep the next rung waiting.
const tellTimeout = 5 * time.Second

// signaller is what the expiry needs of the runtime to reach the processes of a sandbox.
type signaller interface {
	Tell(ctx context.Context, id string, line []byte) error
	Terminate(ctx context.Context, id string) error
}

// users is what the expiry needs of the pools.
type users interface {
	Get(claim string) (pool.Claim, error)
	Use(ctx context.Context, claim string) (pool.Claim, func(), error)
}

var (
	_ lifetime.Acts = (*expiry)(nil)
	_ signaller     = (*runtime.Engine)(nil)
	_ users         = (*pool.Controller)(nil)
)

// expiry does what each stage of a claim's end asks for.
type expiry struct {
	sandboxes   signaller
	claims      users
	checkpoints *checkpoints
	log         *slog.Logger
}

// Warn tells the sandbox that its end comes near. The claim's owner was told when the stage was noted.
func (l *expiry) Warn(ctx context.Context, claim string, lease lifetime.Lease) {
	l.inform(ctx, claim, notice{Kind: pool.EventWarning, ExpiresAt: lease.ExpiresAt, Actions: actions(lease, time.Now())})
}

// Close saves the sandbox; what it returns tells it and asks its processes to end. A sandbox that was saved before a restart is not
// saved again.
func (l *expiry) Close(ctx context.Context, claim string, lease lifetime.Lease) (tell func(context.Context)) {
	last := notice{Kind: pool.EventGrace, ExpiresAt: lease.ExpiresAt}
	saved, err := l.save(ctx, claim)
	switch {
	case errdefs.IsNotFound(err), context.Cause(ctx) != nil:
		return nil // it ended meanwhile
	case err != nil:
		last.Error = err.Error() // the failure was told as an event; the processes can still save what they can
	default:
		last.Checkpoint = saved.ID
	}
	return func(ctx context.Context) { l.stop(ctx, claim, last) }
}

// stop tells the processes of a sandbox why they are to end, and asks them to.
func (l *expiry) stop(ctx context.Context, claim string, last notice) {
	l.inform(ctx, claim, last)
	c, err := l.claims.Get(claim)
	if err != nil || c.State != pool.Claimed || c.Rest == pool.Suspended {
		return
	}
	if err := l.sandboxes.Terminate(ctx, c.Sandbox); err != nil && !errdefs.IsNotFound(err) && context.Cause(ctx) == nil {
		l.log.Warn("sandbox could not be told to stop; it is killed at its end", "claim", claim, "sandbox", c.Sandbox, "err", err)
	}
}

// save takes the checkpoint of a claim that is about to end, once.
func (l *expiry) save(ctx context.Context, claim string) (checkpoint.Manifest, error) {
	if m, done := l.checkpoints.ofExpiry(claim); done {
		return m, nil
	}
	c, err := l.claims.Get(claim)
	if err != nil {
		return checkpoint.Manifest{}, err
	}
	if c.Rest == pool.Suspended { // it is on disk as it will never be again
		return l.checkpoints.store.Retag(c.Saved, checkpoint.TriggerExpiry, "", c.Network)
	}
	return l.checkpoints.Take(ctx, claim, checkpoint.TriggerExpiry, "")
}

// notice is what the processes in a sandbox are told.
type notice struct {
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	ExpiresAt  time.Time `json:"expires_at"`
	Actions    []string  `json:"actions,omitempty"`
	Checkpoint string    `json:"checkpoint,omitempty"`
	Error      string    `json:"error,omitempty"`
}

// actions are what a claim's owner can do then before its end.
func actions(l lifetime.Lease, now time.Time) []string {
	if _, err := l.Extend(now, 0); err != nil {
		return []string{"checkpoint", "release"}
	}
	return []string{"extend", "checkpoint", "release"}
}

// inform writes a notice into a claim's sandbox. One that was written to disk is not woken for it.
func (l *expiry) inform(ctx context.Context, claim string, n notice) {
	c, err := l.claims.Get(claim)
	if err != nil || c.State != pool.Claimed || c.Rest == pool.Suspended {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, tellTimeout, fmt.Errorf("not told within %s: %w", tellTimeout, context.DeadlineExceeded))
	defer cancel()
	n.Time = time.Now().UTC()
	line, err := json.Marshal(n)
	if err == nil {
		err = l.reach(ctx, claim, line)
	}
	if err != nil {
		l.log.Warn("sandbox could not be told", "claim", claim, "kind", n.Kind, "err", err)
	}
}

func (l *expiry) reach(ctx context.Context, claim string, line []byte) error {
	c, done, err := l.claims.Use(ctx, claim)
	if err != nil {
		return err
	}
	defer done()
	return l.sandboxes.Tell(ctx, c.Sandbox, line)
}
