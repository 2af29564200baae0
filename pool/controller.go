// Package pool keeps warm sandboxes ready, hands them out to claims and takes them back.
//
// A Controller owns every sandbox of the host from its first label to its last. One mutex guards what it knows; no
// call to the backend is ever made under it. One loop, Run, starts and destroys sandboxes; claims only take, label and resume.
package pool

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime"
	"sandpool/lifetime/line"
	"sandpool/lifetime/wait"
	"sandpool/pool/size"
)

// Backend is what the controller asks of the container runtime. Every call has a deadline of the backend's own.
// A call for a sandbox that does not exist returns an error of errdefs' class NotFound; one that could not
// reach containerd returns one of class Unavailable.
type Backend interface {
	// Start makes the sandbox id, labels its container and returns when it runs and is ready.
	Start(ctx context.Context, id string, from Origin, labels map[string]string) (Started, error)
	// Pause and Resume freeze a running sandbox and let it go on.
	Pause(ctx context.Context, id string) error
	Resume(ctx context.Context, id string) error
	// Label writes labels of the sandbox's container durably, leaving its other labels alone.
	Label(ctx context.Context, id string, labels map[string]string) error
	// Destroy kills the sandbox and deletes all that belongs to it. A sandbox that does not exist is no error.
	Destroy(ctx context.Context, id string) error
	// Status says whether the sandbox runs, is paused or has ended. It is asked for at every use, so it must be cheap.
	Status(ctx context.Context, id string) (Status, error)

	// Give adds to what all that is started in the sandbox, which may be paused, gets in its environment. Unless it is inherited, as by a sandbox
	// that goes on from a checkpoint, there was nothing before.
	Give(ctx context.Context, id string, env []string, inherits bool) error

	Promiser
	Suspender
}

// Promiser notes which sandboxes are being handed out. What it notes need outlive the daemon only: no sandbox outlives the host.
type Promiser interface {
	// Promise notes that the sandbox is being handed out to a claim that was not answered yet; a listing tells of it.
	Promise(id string) error
	// Fulfil takes that back: from now on the claim may have been answered.
	Fulfil(id string) error
}

// Suspender frees the memory of a sandbox that was saved, and brings it back.
type Suspender interface {
	// Halt ends the sandbox's processes and keeps its container.
	Halt(ctx context.Context, id string) error
	// Revive lets a halted sandbox go on from a checkpoint.
	Revive(ctx context.Context, id, checkpoint string) error
}

// Source is a template that is ready. A start takes it once, so what is started is what the label says.
type Source interface {
	// Fingerprint names all that a sandbox is started from.
	Fingerprint() string
	// OnClaim is what such a sandbox wants to be done in it at each claim, as text for Request.Begin; may be empty. It is in a label, so that
	// it stays that of the sandbox, and the fingerprint names it, too.
	OnClaim() string
	// Network is what such a sandbox may connect to; empty: nothing. It is in a label. What the template of a sandbox has as that is claimed
	// counts, and the fingerprint names only whether there is some.
	Network() string
	// Start makes the sandbox id as Backend.Start does; a cold one is started even if there is a snapshot to go on from.
	Start(ctx context.Context, id string, cold bool, labels map[string]string) (Started, error)
}

// Origin is what a sandbox is started from.
type Origin struct {
	Template   string
	Source     Source // of the template
	Checkpoint string // go on from it, rather than start the template; may be empty
	Cold       bool   // start the template, even if it has a snapshot to go on from
	Trace      string // that of the claim that it is started for; see Request.Trace
}

// Deadlines follows how each claim comes to its end; see lifetime.Warden. It is called under the controller's mutex.
type Deadlines interface {
	Set(claim, owner string, lease lifetime.Lease)
	Remove(claim string)
}

// Recycle says what a release makes of a sandbox's slot. The sandbox itself is destroyed in any case: nothing of it is
// ever given to another user.
type Recycle string

const (
	// RecycleDestroy gives the slot up if the pool is larger than its target.
	RecycleDestroy Recycle = "destroy"
	// RecycleReset fills the slot with a new sandbox.
	RecycleReset Recycle = "reset"
)

// Config is one pool of sandboxes that are all alike.
type Config struct {
	Name       string // region:template
	Template   string
	Source     Source        // what sandboxes are started from; ready ones of another are replaced. Nil until Prepared
	MaxAge     time.Duration // of a sandbox that is handed out; 0: any
	RefreshAge time.Duration // at which a replacement is started; 0: at MaxAge
	Recycle    Recycle
	Size
}

// Starting is told of a start as it begins. The calls that bring the sandbox to a claim or into its pool get the context that is
// returned, and done is called after them, with why there is no sandbox if so.
type Starting func(ctx context.Context, id string, from Origin) (_ context.Context, done func(error))

// Options are the parts a Controller is made of. All fields are required.
type Options struct {
	Pools     []Config
	Backend   Backend
	Deadlines Deadlines
	NewID     func() string                      // a fresh sandbox id, all of one length
	Starts    int                                // the most sandboxes that are started at once
	Admit     func() string                      // why nothing may be started now, or ""; it must not block
	Step      func(string)                       // told at every step after which a crash must lose nothing
	Tell      func(Event)                        // told what happens to claims, under the controller's mutex: it must not block
	Starting  Starting                           // told of every start
	Started   func(template string, how Started) // told of every sandbox that became ready
	Log       *slog.Logger
}

// Controller owns the host's sandboxes. Make one with New, call Reconcile, then Run.
type Controller struct {
	backend   Backend
	deadlines Deadlines
	newID     func() string
	starts    int
	admit     func() string
	step      func(string)
	starting  Starting
	tell      func(Event)
	started   func(template string, how Started)
	log       *slog.Logger

	loop    *wait.Loop
	workers sync.WaitGroup // goroutines that start, settle and destroy

	mu        sync.Mutex
	pools     map[string]*pool     // by template
	sandboxes map[string]*sandbox  // by id
	claims    map[string]*sandbox  // by claim id; states Claimed and Dead
	requests  map[requestKey]*turn // idempotent claims, under way and granted
	asking    map[string]int       // claims under way, by owner
	outage    error                // containerd cannot be reached; nothing is handed out or started
	epoch     uint64               // counts changes, so that Reconcile can tell what changed behind its list
	gone      map[string]uint64    // sandboxes that were forgotten, and at which epoch
}

// pool is one Config and what goes on in it.
type pool struct {
	Config
	sandboxes map[string]*sandbox
	size      int       // how many sandboxes there should be, in use and warming ones included
	sweepAt   time.Time // when it is looked at for draining
	demand    size.Demand
	waiters   line.Line[*waiter] // claims that wait
	failures  int                // starts that failed in a row
	retryAt   time.Time          // no start before it
	degraded  string             // why the last start failed
	counters  Counters
}

// Counters count a pool's events since the daemon started.
type Counters struct {
	Started      uint64 // sandboxes that became ready
	StartsFailed uint64
	Destroyed    uint64
	Died         uint64 // sandboxes that ended by themselves
}

// sandbox is one container. The goroutine that moved it to Warming, Reserved or Terminating owns it until it moves on.
type sandbox struct {
	id        string
	pool      *pool
	state     State
	added     uint64 // epoch at which it became known: the order of age, which no clock can change
	claimed   uint64 // epoch at which its claim was entered
	changed   uint64 // epoch of the last move
	record    Record
	paused    bool
	source    Source        // that it is started from; nil when an earlier daemon has started it
	from      string        // checkpoint that it goes on from; nobody but its claim may get it
	trial     bool          // nobody may get it
	begun     time.Time     // when its start began
	how       Started       // once it is ready
	waitedFor bool          // by its claim, until it was ready
	ready     bool          // it was started
	settled   bool          // it has been available
	heating   bool          // it is on its way to Hot
	died      string        // why it ended while its owner had it; the owner dooms it
	why       string        // why it is Terminating
	booked    *waiter       // the claim that it is started for
	wantedBy  string        // the owner of a claim that waited when it was started; may be empty
	unsaved   bool          // the labels do not say yet that it is Dead
	busy      bool          // a worker destroys or labels it
	attempts  int           // destroys that failed
	retryAt   time.Time     // no attempt at either before it
	tried     chan struct{} // closed after the first attempt to destroy it
	undone    error         // why that attempt left no trace of the claim's end; set before tried is closed

	turns  chan struct{} // one slot: held by whoever changes what the labels say of a claim
	users  int           // commands that run in it, and the like
	usedAt time.Time     // when the last of them ended
	dozing bool          // whoever holds the turn puts it to rest or wakes it
}

// New makes a Controller that knows no sandboxes.
func New(o Options) *Controller {
	c := &Controller{
		backend: o.Backend, deadlines: o.Deadlines, newID: o.NewID, starts: o.Starts, admit: o.Admit, step: o.Step, tell: o.Tell,
		starting: o.Starting, started: o.Started, log: o.Log,
		loop:      wait.NewLoop(),
		pools:     map[string]*pool{},
		sandboxes: map[string]*sandbox{},
		claims:    map[string]*sandbox{},
		requests:  map[requestKey]*turn{},
		asking:    map[string]int{},
		gone:      map[string]uint64{},
	}
	for _, cfg := range o.Pools {
		c.pools[cfg.Template] = newPool(cfg)
	}
	return c
}

func newPool(cfg Config) *pool {
	return &pool{Config: cfg, sandboxes: map[string]*sandbox{}, size: cfg.Target, sweepAt: time.Now().Add(sweepEvery)}
}

// Turns counts the rounds of the loop; see wait.Loop.Rounds.
func (c *Controller) Turns() uint64 { return c.loop.Rounds() }

// SetOutage stops claims and starts while containerd cannot be reached; nil lets them go on. It returns what Outage did.
func (c *Controller) SetOutage(err error) (before error) {
	c.mu.Lock()
	before, c.outage = c.outage, err
	if err == nil {
		for _, s := range c.sandboxes {
			s.retryAt = time.Time{} // what could not be destroyed can be now
		}
	}
	c.mu.Unlock()
	c.loop.Wake()
	return before
}

// Outage returns why containerd cannot be reached, or nil. Whoever tells of an outage asks here: the claims are refused by it.
func (c *Controller) Outage() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outage
}

// addLocked makes a sandbox known.
func (c *Controller) addLocked(p *pool, id string, r Record) *sandbox {
	s := &sandbox{id: id, pool: p, state: r.State, record: r, tried: make(chan struct{}), turns: make(chan struct{}, 1)}
	c.epoch++
	s.added, s.changed = c.epoch, c.epoch
	c.sandboxes[id] = s
	p.sandboxes[id] = s
	return s
}

// moveLocked changes the state of s. A move that is not allowed is a fault of the controller's own, and logged.
func (c *Controller) moveLocked(s *sandbox, to State) error {
	if !mayBecome(s.state, to) {
		err := fmt.Errorf("illegal move of sandbox %s from %q to %q", s.id, s.state, to)
		c.log.Error("move sandbox", "err", err)
		return err
	}
	s.state = to
	c.epoch++
	s.changed = c.epoch
	return nil
}

// forgetLocked drops a sandbox that exists no longer.
func (c *Controller) forgetLocked(s *sandbox) {
	c.epoch++
	c.gone[s.id] = c.epoch
	delete(c.sandboxes, s.id)
	delete(s.pool.sandboxes, s.id)
}

// terminateLocked takes s out of use: the loop destroys it. Its claim, if any, ends here.
func (c *Controller) terminateLocked(s *sandbox, why string) {
	if s.state == Terminating {
		return
	}
	if g := s.record.Grant; g.ID != "" && c.claims[g.ID] == s {
		delete(c.claims, g.ID)
		delete(c.requests, requestKey{g.Owner, g.RequestID})
		c.deadlines.Remove(g.ID)
	}
	if c.moveLocked(s, Terminating) != nil {
		return
	}
	s.why, s.retryAt = why, time.Time{}
	c.log.Debug("sandbox is to be destroyed", "sandbox", s.id, "pool", s.pool.Name, "reason", why)
	c.loop.Wake()
}

// poolLocked returns the pool of a template; that there is none is an error of class NotFound.
func (c *Controller) poolLocked(template string) (*pool, error) {
	if p, ok := c.pools[template]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("template %q: %w", template, errdefs.ErrNotFound)
}

// count returns how many sandboxes of p are in one of states.
func (p *pool) count(states ...State) int {
	return countOf(p.sandboxes, func(s *sandbox) bool { return slices.Contains(states, s.state) })
}

// countOf returns how many sandboxes of a map are so.
func countOf(sandboxes map[string]*sandbox, is func(*sandbox) bool) int {
	n := 0
	for _, s := range sandboxes {
		if is(s) {
			n++
		}
	}
	return n
}

// room is how many more sandboxes p may have. Those that wait to be replaced do not count: their successors come first.
func (p *pool) room(now time.Time) int {
	c := p.counts(now)
	return p.Max - c.Total() - c.Warming
}

// next returns the sandbox to hand out: one that runs before one that is paused, the oldest first; nil if none is ready.
func (p *pool) next(now time.Time) *sandbox {
	return cmp.Or(p.oldest(Hot, now), p.oldest(Available, now))
}

// oldest returns the sandbox in a state that has waited longest and is not too old, or nil.
func (p *pool) oldest(state State, now time.Time) *sandbox {
	var first *sandbox
	for _, s := range p.sandboxes {
		if s.state == state && !s.expired(now) && (first == nil || s.added < first.added) {
			first = s
		}
	}
	return first
}

// emptyLocked is the refusal of a claim that found no sandbox in time.
func (c *Controller) emptyLocked(p *pool) error {
	detail := fmt.Sprintf("pool %s has no sandbox ready (%d of at most %d in use)", p.Name, p.count(Reserved, Claimed), p.Max)
	if p.Hold {
		detail += "; it is on hold, so nothing refills it"
	}
	if blocked := c.admit(); blocked != "" {
		detail += "; nothing is started: " + blocked
	}
	if p.degraded != "" {
		return fmt.Errorf("%s; the last start failed: %w", detail, &StartError{Reason: p.degraded, Class: errdefs.ErrResourceExhausted})
	}
	return fmt.Errorf("%s: %w", detail, errdefs.ErrResourceExhausted)
}

// StartError is why the last start of a pool's sandboxes failed. Its reason is the operator's matter: it may hold paths and URLs.
type StartError struct {
	Reason string
	Class  error // of errdefs
}

func (e *StartError) Error() string { return e.Reason }

// Unwrap returns the class.
func (e *StartError) Unwrap() error { return e.Class }
