package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime/wait"
	"sandpool/pool"
	"sandpool/runtime"
)

const (
	// sweepEvery is how often the pools are compared with containerd, and left-overs removed, though no event asks for it.
	sweepEvery = 30 * time.Second
	// pingEvery is how often containerd is asked for an answer while it is there: one that hangs ends no stream of events.
	pingEvery = 5 * time.Second
)

// pings are the pauses between attempts while containerd does not answer.
var pings = wait.Backoff{First: 200 * time.Millisecond, Last: 5 * time.Second}

var errStreamEnded = errdefs.ErrUnavailable.WithMessage("its event stream ended")

// The triggers of a reconciliation.
const (
	triggerStart  = "start"  // of the daemon
	triggerEvents = "events" // containerd's events begin to come
	triggerSweep  = "sweep"
)

// reconciles are all of them, for the metrics.
var reconciles = []string{triggerStart, triggerEvents, triggerSweep}

// sandboxes is what the watcher needs of the runtime.
type sandboxes interface {
	List(ctx context.Context) ([]runtime.Listed, error)
	Watch(ctx context.Context, died func(id string, d runtime.Death), turned func(ctx context.Context, id string, to runtime.Status)) error
	Ping(ctx context.Context) error
	Sweep(ctx context.Context, live func(id string) bool) error
}

// pools is what the watcher tells of the sandboxes' fate.
type pools interface {
	Reconcile(ctx context.Context, list func(context.Context) ([]pool.Found, error)) (pool.Report, error)
	Died(id, reason string) bool
	Look(ctx context.Context, id string, seen pool.Status)
	SetOutage(err error) (before error)
	Knows(id string) bool
}

var (
	_ sandboxes = (*runtime.Engine)(nil)
	_ pools     = (*pool.Controller)(nil)
)

// watcher keeps the pools in step with containerd: by its events, by listings now and then, and through its outages.
type watcher struct {
	sandboxes sandboxes
	pools     pools
	address   string // containerd's socket, for messages
	log       *slog.Logger
	// reconciled is told how each reconciliation went.
	reconciled func(trigger string, err error)
	// counted is told why a sandbox ended by itself.
	counted func(cause string)

	rounds atomic.Uint64 // of whichever loop is under way
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	for {
		err := w.session(ctx)
		if context.Cause(ctx) != nil {
			return
		}
		w.setOutage(fmt.Errorf("containerd at %s cannot be reached: start it (systemctl start containerd); sandboxes and claims are kept meanwhile: %w", w.address, unavailable(err)))
		w.awaitContainerd(ctx)
	}
}

// session follows containerd's events. The subscription is asked for before the listing, but containerd does not say when it
// is there: what ends in between may be seen by the next sweep only. It returns why it could not begin, or why the events
// ended, or why containerd gave no answer.
func (w *watcher) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var events sync.WaitGroup
	defer events.Wait()
	defer cancel(nil)
	events.Go(func() { cancel(cmp.Or(w.sandboxes.Watch(ctx, w.died, w.turned), errStreamEnded)) })
	if err := w.reconcile(ctx, triggerEvents); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	w.setOutage(nil)
	ping, sweep := time.NewTicker(pingEvery), time.NewTicker(sweepEvery)
	defer ping.Stop()
	defer sweep.Stop()
	for {
		w.rounds.Add(1)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ping.C:
			if err := w.sandboxes.Ping(ctx); err != nil {
				return cmp.Or(context.Cause(ctx), err)
			}
		case <-sweep.C:
			err := errors.Join(w.reconcile(ctx, triggerSweep), w.sandboxes.Sweep(ctx, w.pools.Knows))
			if err != nil && context.Cause(ctx) == nil {
				w.log.Warn("sweep is not complete; the next one tries again", "err", err)
			}
		}
	}
}

// turned is told of every sandbox that was paused or resumed, by whomever.
func (w *watcher) turned(ctx context.Context, id string, to runtime.Status) {
	w.pools.Look(ctx, id, statuses[to])
}

// died passes a death on to the pools, who know whether anybody wanted it.
func (w *watcher) died(id string, d runtime.Death) {
	if w.pools.Died(id, d.Reason) {
		w.counted(d.Cause)
	}
}

// awaitContainerd returns when containerd answers or ctx ends.
func (w *watcher) awaitContainerd(ctx context.Context) {
	for failures := 1; ; failures++ {
		w.rounds.Add(1)
		if wait.Sleep(ctx, pings.After(failures)) != nil {
			return
		}
		if err := w.sandboxes.Ping(ctx); err == nil {
			return
		}
	}
}

// reconcile compares the pools with what containerd lists and says what it did.
func (w *watcher) reconcile(ctx context.Context, trigger string) error {
	report, err := w.pools.Reconcile(ctx, w.list)
	w.reconciled(trigger, err)
	if err != nil {
		return err
	}
	if report != (pool.Report{Foreign: report.Foreign}) {
		w.log.Info("sandboxes reconciled", "trigger", trigger, "adopted_warm", report.Warm, "adopted_claims", report.Claims, "dead_claims", report.Dead,
			"destroyed", report.Terminating, "foreign", report.Foreign)
	}
	return nil
}

func (w *watcher) list(ctx context.Context) ([]pool.Found, error) {
	listed, err := w.sandboxes.List(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]pool.Found, 0, len(listed))
	for _, l := range listed {
		found = append(found, pool.Found{ID: l.ID, Labels: l.Labels, Status: statuses[l.Status], Promised: l.Promised, Reason: l.Reason})
	}
	return found, nil
}

// setOutage tells the pools that containerd is away, or with nil that it is there. They alone keep that.
func (w *watcher) setOutage(err error) {
	before := w.pools.SetOutage(err)
	switch {
	case err != nil && before == nil:
		w.log.Error("containerd is away", "err", err)
	case err == nil && before != nil:
		w.log.Info("containerd is back")
	}
}

// unavailable gives err the class of an outage.
func unavailable(err error) error {
	if errdefs.IsUnavailable(err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
}
