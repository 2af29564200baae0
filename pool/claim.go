package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime"
)

// The tiers of a claim: how its sandbox came to be running.
const (
	TierHot      = "hot"      // it waited in the pool and ran
	TierPaused   = "paused"   // it waited in the pool, paused
	TierCold     = "cold"     // the claim waited for its start
	TierFallback = "fallback" // it waited in the pool of the template "generic"
	TierTemplate = "template" // the claim waited for it to go on from its template's snapshot
	TierRestored = "restored" // it goes on from a checkpoint
)

// Request asks for a sandbox.
type Request struct {
	Template  string
	Owner     string
	RequestID string        // may be empty; else claims of one owner with one id are one claim
	Fallback  bool          // take one of the template "generic" rather than wait
	Cold      bool          // take no sandbox of the pool, only one that is started for this claim
	Wait      time.Duration // how long to wait for a sandbox; 0 takes an available one or none
	Quota     int           // the most claims that its owner may have, with those that wait; 0: any number

	Checkpoint string // go on from it; Template is then that of the sandbox that was saved
	Metadata   string // for Grant
	Given      Given
	Network    func(has string) (string, error) // what the claim may connect to, of what its sandbox has by itself; nil: all of that. Called more than once
	Env        []string                         // KEY=VALUE, with Given: what all that is started in the sandbox gets; never in labels
	// Begin, if set, does what is to be done in the running sandbox before anybody is told of the claim. When it fails, so does the claim: no
	// other sandbox is tried.
	Begin    func(ctx context.Context, claim Claim) error
	Trace    string // names the claim's part in a trace, for Options.Starting; may be empty
	Kind     string // name of the lifetime type
	Lifetime lifetime.Type

	asked time.Time
}

// Claim is a sandbox in a user's hands.
type Claim struct {
	Grant
	Sandbox   string // container id
	Pool      string // region:template of the sandbox
	State     State  // Claimed or Dead
	Rest      Rest
	Saved     string // with Rest Suspended: the checkpoint that it is woken from
	Reason    string
	CreatedAt time.Time // of the sandbox
	Phases    *Phases   // of the start that the claim waited for; nil if it did not, or since the daemon was started again
	OnClaim   string    // see Source
	Network   string    // see Record
}

// SandboxTemplate is the template of the claim's sandbox: after a fallback not the one that was asked for.
func (c Claim) SandboxTemplate() string { return templateOf(c.Pool) }

// HasGiven tells whether the claim's sandbox may have been given something.
func (c Claim) HasGiven() bool { return c.Given != Nothing || c.From != "" }

// Generic is the template whose pool serves claims that allow a fallback.
const Generic = "generic"

// givenUp is why a sandbox is destroyed that was restored for a claim.
const givenUp = "it goes on from a checkpoint, and its claim was given up"

// errWaitOver is the cause of a claim's context when its wait is over.
var errWaitOver = errors.New("wait is over")

// waiter is a claim that waits for a sandbox.
type waiter struct {
	owner      string
	since      uint64                           // epoch at which it began to wait
	cold       bool                             // it takes only a sandbox that is started for it
	checkpoint string                           // that its sandbox must go on from; may be empty
	trace      string                           // see Request.Trace
	joined     func(has string) (string, error) // Request.joined
	result     chan result                      // one slot; filled under the controller's mutex, once
	left       bool                             // nobody will read the result
}

// answer ends the wait with a sandbox or an error; false if nobody waits any more.
func (w *waiter) answer(s *sandbox, err error) bool {
	if w == nil || w.left {
		return false
	}
	w.result <- result{s, err}
	return true
}

type result struct {
	sandbox *sandbox
	err     error
}

// requestKey names an idempotent claim.
type requestKey struct{ owner, id string }

// turn is one attempt at an idempotent claim; done is closed when it was granted or failed.
type turn struct {
	done  chan struct{}
	claim string // empty until it is granted
}

// Claim hands out a sandbox. The second result says that an earlier claim with the same request id was found instead.
// The claim is on disk before Claim returns; one whose ctx ended meanwhile is taken back.
// Errors are of errdefs' classes: NotFound for an unknown template, ResourceExhausted for a pool that stayed empty, and with ErrQuota
// for an owner of too many claims, Unavailable when containerd cannot be reached, AlreadyExists for a request id that was used for another template.
func (c *Controller) Claim(ctx context.Context, req Request) (Claim, bool, error) {
	c.mu.Lock()
	p, err := c.poolLocked(req.Template)
	if err == nil {
		err = p.fits(req)
	}
	c.mu.Unlock()
	if err != nil {
		return Claim{}, false, err
	}
	if req.RequestID != "" {
		return c.claimOnce(ctx, p, req)
	}
	claim, err := c.grant(ctx, p, req)
	return claim, false, err
}

// claimOnce makes claims with one request id one claim: the first does the work, the others wait for it.
func (c *Controller) claimOnce(ctx context.Context, p *pool, req Request) (Claim, bool, error) {
	key := requestKey{req.Owner, req.RequestID}
	for {
		c.mu.Lock()
		first, under := c.requests[key]
		if !under {
			mine := &turn{done: make(chan struct{})}
			c.requests[key] = mine
			c.mu.Unlock()
			claim, err := c.grant(ctx, p, req)
			c.endTurn(key, mine, claim, err)
			return claim, false, err
		}
		if s := c.claims[first.claim]; s != nil {
			claim := s.claim()
			c.mu.Unlock()
			if claim.Template != req.Template || claim.From != req.Checkpoint {
				return Claim{}, false, fmt.Errorf("request id %q was used for template %q, checkpoint %q: %w", req.RequestID, claim.Template, claim.From, errdefs.ErrAlreadyExists)
			}
			return claim, true, nil
		}
		c.mu.Unlock()
		select {
		case <-first.done:
		case <-ctx.Done():
			return Claim{}, false, context.Cause(ctx)
		}
	}
}

// endTurn lets those who wait for a turn see how it ended.
func (c *Controller) endTurn(key requestKey, t *turn, claim Claim, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.claim = claim.ID
	// The claim may have ended already, and another turn may have begun.
	if c.requests[key] == t && (err != nil || c.claims[claim.ID] == nil) {
		delete(c.requests, key)
	}
	close(t.done)
}

// grant makes a claim if its owner may have one more.
func (c *Controller) grant(ctx context.Context, p *pool, req Request) (Claim, error) {
	req.asked = time.Now()
	if err := c.ask(p, req); err != nil {
		return Claim{}, err
	}
	claim, err := c.obtain(ctx, p, req)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answeredLocked(req.Owner)
	}
	return claim, err
}

// obtain gets a sandbox and hands it out. One that fails on the way is doomed and the next is tried.
func (c *Controller) obtain(ctx context.Context, p *pool, req Request) (Claim, error) {
	waitCtx := ctx
	if req.Wait > 0 {
		var cancel context.CancelFunc
		waitCtx, cancel = context.WithTimeoutCause(ctx, req.Wait, errWaitOver)
		defer cancel()
	}
	for {
		s, err := c.acquire(waitCtx, p, req)
		if err != nil {
			return Claim{}, err
		}
		claim, err := c.handOut(ctx, s, req)
		switch {
		case err == nil:
			return claim, nil
		case context.Cause(ctx) != nil:
			return Claim{}, context.Cause(ctx)
		case errdefs.IsUnavailable(err), errors.As(err, new(beginError)), req.Checkpoint != "" && errdefs.IsFailedPrecondition(err):
			return Claim{}, err // the next sandbox would be lost in the same way
		}
		c.log.Warn("sandbox could not be handed out", "sandbox", s.id, "pool", p.Name, "err", err)
	}
}

// acquire reserves a sandbox, waiting for one if there is none.
func (c *Controller) acquire(ctx context.Context, p *pool, req Request) (*sandbox, error) {
	c.mu.Lock()
	if c.outage != nil {
		defer c.mu.Unlock()
		return nil, c.outage
	}
	if c.pools[p.Template] != p {
		defer c.mu.Unlock()
		return nil, removed(p.Template)
	}
	now := time.Now()
	if s := c.readyLocked(p, req, now); s != nil {
		err := c.moveLocked(s, Reserved)
		s.pool.claimedLocked(now)
		c.mu.Unlock()
		c.loop.Wake()
		return s, err
	}
	if req.Wait <= 0 || p.failures >= failFast && req.Checkpoint == "" {
		defer c.mu.Unlock()
		return nil, c.emptyLocked(p)
	}
	c.epoch++
	w := &waiter{owner: req.Owner, since: c.epoch, cold: req.Cold || req.Checkpoint != "", result: make(chan result, 1), checkpoint: req.Checkpoint, trace: req.Trace, joined: req.joined}
	p.waiters.Add(w.owner, w)
	c.mu.Unlock()
	c.loop.Wake()

	select {
	case r := <-w.result:
		return r.sandbox, r.err
	case <-ctx.Done():
		return nil, c.leave(ctx, p, w)
	}
}

// readyLocked returns a sandbox of p that can be handed out at once, or one of the generic pool if req allows that.
func (c *Controller) readyLocked(p *pool, req Request, now time.Time) *sandbox {
	if req.Cold || req.Checkpoint != "" {
		return nil
	}
	if s := p.next(now); s != nil || !req.Fallback {
		return s
	}
	if generic := c.pools[Generic]; generic != nil && generic.fits(req) == nil {
		return generic.next(now)
	}
	return nil
}

// leave takes w out of p's queues, gives back what it got at the last moment, and returns why it left.
func (c *Controller) leave(ctx context.Context, p *pool, w *waiter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.left = true
	p.waiters.Remove(w)
	select {
	case r := <-w.result:
		if r.sandbox != nil {
			c.giveBackLocked(ctx, r.sandbox)
		}
	default:
	}
	if cause := context.Cause(ctx); !errors.Is(cause, errWaitOver) {
		return cause
	}
	return c.emptyLocked(p)
}

// giveBackLocked returns a reserved sandbox that nobody used.
func (c *Controller) giveBackLocked(ctx context.Context, s *sandbox) {
	if s.from != "" {
		c.terminateLocked(s, givenUp)
		return
	}
	if c.moveLocked(s, Warming) != nil {
		return
	}
	c.workers.Go(func() { c.settle(context.WithoutCancel(ctx), s) })
}

// tier says how s came to be running, for a claim that got it.
func (s *sandbox) tier(req Request) string {
	switch {
	case s.from != "":
		return TierRestored
	case s.pool.Template != req.Template:
		return TierFallback
	case !s.settled && s.how.Restored:
		return TierTemplate
	case !s.settled:
		return TierCold
	case s.paused:
		return TierPaused
	default:
		return TierHot
	}
}

func (s *sandbox) claim() Claim {
	claim := Claim{
		Grant: s.record.Grant, Sandbox: s.id, Pool: s.pool.Name,
		State: s.state, Rest: s.record.Rest, Saved: s.record.Saved, Reason: s.record.Reason, CreatedAt: s.record.CreatedAt,
		OnClaim: s.record.OnClaim, Network: s.record.Network,
	}
	if s.waitedFor {
		phases := s.how.Phases
		claim.Phases = &phases
	}
	return claim
}
