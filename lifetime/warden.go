package lifetime

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sandpool/lifetime/line"
	"sandpool/lifetime/wait"
)

const (
	// sweep bounds how late a deadline can be noticed when the wall clock is stepped or the host was suspended.
	sweep = 5 * time.Second
	// closesAtOnce bounds the work that many ends at one time make: a checkpoint writes the memory of a sandbox to disk. One owner
	// has one less.
	closesAtOnce = 4
	// tellsAtOnce bounds what is being told in sandboxes, which may be slow or hostile. One owner has one less.
	tellsAtOnce = 16
)

// notes are the pauses between attempts to note a stage that cannot be noted.
var notes = wait.Backoff{First: time.Second, Last: 30 * time.Second}

// Why the context of an act ends.
var (
	errOver     = errors.New("the claim's time is over")
	errReplaced = errors.New("the claim has ended or its time was changed")
	errLate     = errors.New("the time to close a claim whose end had passed is over")
)

// Acts is what a Warden has done at the stages of a claim's end. All must return soon after their context has ended.
type Acts interface {
	// Warn tells the claim's owner that its end comes near.
	Warn(ctx context.Context, claim string, lease Lease)
	// Close saves the claim, and returns what tells its sandbox to stop, or nil. It may take until the claim's end. It is called
	// again after a restart within the grace period. Its context ends with the claim, and so does that of what it returns.
	Close(ctx context.Context, claim string, lease Lease) (tell func(context.Context))
}

// Warden leads each claim through the stages to its end: it notes each stage durably when it is due, then acts. Deadlines are
// points on the wall clock. The end itself waits for nothing: not for a stage that cannot be noted, and not for a Close.
//
// A claim whose end passed while nobody watched, because the daemon was down or the host suspended, is closed late and then
// ended. Ends that passed before Run come in the order of their deadlines.
//
// Make one with NewWarden. Its methods may be called at any time; those that are not Run do not block and call nobody.
type Warden struct {
	log    *slog.Logger
	loop   *wait.Loop
	closes *line.Gate // of what is being saved
	tells  *line.Gate // of what is being told

	// Of Run, and constant while it runs.
	claims    Claims
	acts      Acts
	closeTime time.Duration
	began     time.Time
	running   sync.WaitGroup // all that is under way for claims

	mu    sync.Mutex // innermost: nobody else's lock is taken under it
	wards map[string]*ward
	queue deadlines // those of wards that are to be looked at
	line  []*ward   // those that are over and must end in this order
}

// ward is one claim under one lease. A lease that changes, but for its stage, makes another ward.
type ward struct {
	claim  string
	owner  string
	lease  Lease                   // its stage is the last that was noted
	to     Stage                   // the stage that is being noted or acted upon; empty: none
	cancel context.CancelCauseFunc // ends what is under way to that stage
	closed bool                    // it was closed, or it is late and shall not be
	at     time.Time               // when it is to be looked at
	index  int                     // in the queue, or -1
}

// NewWarden makes a Warden that watches no claims.
func NewWarden(log *slog.Logger) *Warden {
	return &Warden{
		log: log, loop: wait.NewLoop(), closes: line.NewGate(closesAtOnce), tells: line.NewGate(tellsAtOnce),
		wards: map[string]*ward{},
	}
}

// Set watches a claim of an owner, or has it follow another lease. A claim in its grace period that is not being closed is closed.
func (w *Warden) Set(claim, owner string, lease Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set(claim, owner, lease)
}

// Remove forgets a claim, if it is known, and ends what is under way for it.
func (w *Warden) Remove(claim string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(claim)
}

// Run watches the claims until ctx ends and all that was under way for them has returned. closeTime is how long the Close of a
// claim may take whose end has passed. Run may be called once.
func (w *Warden) Run(ctx context.Context, claims Claims, acts Acts, closeTime time.Duration) {
	w.claims, w.acts, w.closeTime, w.began = claims, acts, closeTime, time.Now().Round(0)
	defer w.running.Wait()
	w.loop.Run(ctx, func() time.Duration {
		over, next := w.look(ctx, time.Now())
		if context.Cause(ctx) != nil {
			return 0 // it may have ended a late Close: to end the claim is for the next start
		}
		for _, claim := range over {
			claims.Expire(claim)
		}
		return next
	})
}

// Turns counts the rounds of the loop; see wait.Loop.Rounds.
func (w *Warden) Turns() uint64 { return w.loop.Rounds() }

func (w *Warden) set(claim, owner string, lease Lease) {
	lease.ExpiresAt = lease.ExpiresAt.Round(0) // wall time only: the deadline moves with the clock, as its label does
	if old, ok := w.wards[claim]; ok && old.follows(lease) {
		return
	}
	w.remove(claim)
	k := &ward{claim: claim, owner: owner, lease: lease}
	if lease.Stage != Grace {
		_, k.at = lease.Next()
	} // else it is due at once: to be closed
	w.wards[claim] = k
	heap.Push(&w.queue, k)
	w.loop.Wake()
}

func (w *Warden) remove(claim string) {
	k, ok := w.wards[claim]
	if !ok {
		return
	}
	delete(w.wards, claim)
	if k.index >= 0 {
		heap.Remove(&w.queue, k.index)
	}
	k.stop(errReplaced)
	w.loop.Wake() // it may be the first in line
}

// look takes each claim that is due a stage further. It returns those that are over, in the order in which they are to end, and
// when to look again.
func (w *Warden) look(ctx context.Context, now time.Time) (over []string, next time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now = now.Round(0)
	var ended []*ward
	for len(w.queue) > 0 && !w.queue[0].at.After(now) {
		k := heap.Pop(&w.queue).(*ward)
		if !now.Before(k.lease.ExpiresAt) {
			ended = append(ended, k)
			continue
		}
		to, at := k.next()
		w.start(ctx, k, to, false)
		k.at = at
		heap.Push(&w.queue, k)
	}
	slices.SortStableFunc(ended, func(a, b *ward) int { return a.lease.ExpiresAt.Compare(b.lease.ExpiresAt) })
	for _, k := range ended {
		unclosed := k.unclosed()
		k.stop(errOver)
		if !unclosed && !k.lease.ExpiresAt.Before(w.began) {
			delete(w.wards, k.claim)
			over = append(over, k.claim)
			continue
		}
		k.closed = !unclosed
		w.line = append(w.line, k)
		if unclosed {
			w.start(ctx, k, Grace, true)
		}
	}
	over = append(w.lineUp(), over...)
	if len(w.queue) == 0 {
		return over, sweep
	}
	return over, min(sweep, w.queue[0].at.Sub(now))
}

// lineUp takes those from the line that wait for nobody.
func (w *Warden) lineUp() (over []string) {
	for len(w.line) > 0 {
		k := w.line[0]
		if w.wards[k.claim] == k {
			if !k.closed {
				break
			}
			delete(w.wards, k.claim)
			over = append(over, k.claim)
		}
		w.line = w.line[1:]
	}
	return over
}

// start notes a stage and acts upon it, in place of what was under way for the claim.
func (w *Warden) start(ctx context.Context, k *ward, to Stage, late bool) {
	k.stop(errReplaced)
	ctx, k.cancel = context.WithCancelCause(ctx)
	k.to = to
	lease, cancel := k.lease, k.cancel
	w.running.Go(func() {
		defer cancel(nil)
		came := lease.Stage == to || w.advance(ctx, k, lease, to, late)
		lease.Stage = to
		if came && to == Grace {
			w.close(ctx, k, lease, late)
		}
		w.finish(k, to)
		if came && to == Warned {
			w.tells.Pass(ctx, k.owner, func() { w.acts.Warn(ctx, k.claim, lease) })
		}
	})
}

// advance notes a stage durably, and tries until it can. Of a claim that is over it tries once. It returns false when the claim
// has not come to the stage, or it no longer matters.
func (w *Warden) advance(ctx context.Context, k *ward, seen Lease, to Stage, late bool) bool {
	ctx, cancel := w.limit(ctx, late)
	defer cancel()
	for failures := 1; ; failures++ {
		ok, err := w.claims.Advance(ctx, k.claim, seen, to)
		if ok && err == nil {
			return w.reached(k, to)
		}
		if err == nil && w.renew(k, to) || context.Cause(ctx) != nil {
			return false
		}
		w.log.Warn("stage of a claim could not be noted", "claim", k.claim, "stage", to, "err", err)
		if late {
			return false
		}
		if wait.Sleep(ctx, notes.After(failures)) != nil {
			return false
		}
	}
}

// reached is that k came to a stage; false when something else is under way meanwhile.
func (w *Warden) reached(k *ward, to Stage) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wards[k.claim] != k || k.to != to {
		return false
	}
	k.lease.Stage = to
	return true
}

// renew has a claim whose lease is not as it was seen follow the one that it has; false when that is the same all the same.
func (w *Warden) renew(k *ward, to Stage) bool {
	lease, ok := w.claims.Lease(k.claim)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.wards[k.claim] != k || k.to != to: // Set or Remove came first, and know better
		return true
	case !ok:
		w.remove(k.claim)
		return true
	case k.lease.equal(lease):
		return false
	}
	w.remove(k.claim)
	w.set(k.claim, k.owner, lease)
	return true
}

// close waits for its turn and closes a claim: it is saved in one turn and told in another, since a sandbox can hold up what it is told.
// One that is late has closeTime for each from then on, and no more than that.
func (w *Warden) close(ctx context.Context, k *ward, lease Lease, late bool) {
	act := func(do func(context.Context)) func() {
		return func() {
			if !late && !time.Now().Round(0).Before(lease.ExpiresAt) { // its turn and its end came at once
				return
			}
			ctx, cancel := w.limit(ctx, late)
			defer cancel()
			defer context.AfterFunc(ctx, func() { w.finish(k, Grace) })() // what is stuck does not keep the claim
			do(ctx)
		}
	}
	var tell func(context.Context)
	w.closes.Pass(ctx, k.owner, act(func(ctx context.Context) { tell = w.acts.Close(ctx, k.claim, lease) }))
	if tell != nil {
		w.tells.Pass(ctx, k.owner, act(tell))
	}
}

// limit bounds what is done for a claim that is over already. All else ends with the claim.
func (w *Warden) limit(ctx context.Context, late bool) (context.Context, context.CancelFunc) {
	if late {
		return context.WithTimeoutCause(ctx, w.closeTime, errLate)
	}
	return context.WithCancel(ctx)
}

// finish is that what was under way to a stage is done.
func (w *Warden) finish(k *ward, to Stage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wards[k.claim] == k && k.to == to {
		k.to, k.closed = "", to == Grace
		w.loop.Wake()
	}
}

// next is the stage after the present one or the one that is under way, and when k is to be looked at after that has begun.
func (k *ward) next() (to Stage, again time.Time) {
	lease := k.lease
	if k.to != "" {
		lease.Stage = k.to
	}
	if lease.Stage != Grace {
		lease.Stage, _ = lease.Next()
	}
	to = lease.Stage
	_, again = lease.Next()
	return to, again
}

// unclosed is whether k should have been closed before its end, and nobody began to.
func (k *ward) unclosed() bool {
	return k.lease.Type.Grace > 0 && k.to != Grace && !k.closed
}

// follows is whether a lease is what k knows, or what it is coming to.
func (k *ward) follows(lease Lease) bool {
	if lease.Stage == k.to {
		lease.Stage = k.lease.Stage
	}
	return k.lease.equal(lease)
}

// stop ends what is under way for k, if anything.
func (k *ward) stop(why error) {
	if k.to != "" {
		k.cancel(why)
		k.to = ""
	}
}

func (l Lease) equal(other Lease) bool {
	same := l.ExpiresAt.Equal(other.ExpiresAt)
	l.ExpiresAt = other.ExpiresAt
	return same && l == other
}

// deadlines is a heap.Interface, earliest first.
type deadlines []*ward

func (q deadlines) Len() int           { return len(q) }
func (q deadlines) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q deadlines) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *deadlines) Push(x any) {
	k := x.(*ward)
	k.index = len(*q)
	*q = append(*q, k)
}

func (q *deadlines) Pop() any {
	last := len(*q) - 1
	k := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	k.index = -1
	return k
}
