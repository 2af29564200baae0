// Package hooks tells the outside of events: it posts them to URLs and runs commands. Nothing that goes wrong here touches a sandbox.
package hooks

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sandpool/daemon/wire"
	"sandpool/lifetime/wait"
)

const (
	// AllEvents in a hook's Events stands for every kind.
	AllEvents = "*"
	// queueLength is how many events may wait for a hook.
	queueLength = 1024
)

// deliveries are the pauses between the attempts to deliver an event.
var deliveries = wait.Backoff{First: time.Second, Last: 30 * time.Second}

// What became of an event, for metrics.
const (
	Delivered = "delivered"
	Failed    = "failed"  // all attempts did
	Dropped   = "dropped" // its queue was full, or the daemon stopped
)

// Hook says where events go to.
type Hook struct {
	// Events are the kinds that it is told of, or AllEvents.
	Events []string
	// URL gets a POST with the event. It or Command is set.
	URL string
	// Command and its arguments are run with the event on the standard input.
	Command []string
	// Timeout is how long one attempt may take; it is over 0.
	Timeout time.Duration
	// Retries is how often an attempt that failed is repeated.
	Retries int
}

// Hooks delivers events to hooks. Make it with New, then call Run.
type Hooks struct {
	transport *http.Transport // for all URLs
	workers   []*worker
}

// New makes Hooks for a list of hooks. observe is told what became of every event for a hook, which is named by its place in the
// list; it is called by several goroutines at once.
func New(list []Hook, observe func(hook int, outcome string), log *slog.Logger) *Hooks {
	h := &Hooks{transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: idleTimeout}}
	for i, hook := range list {
		log := log.With("hook", i)
		w := &worker{
			hook: hook, queue: make(chan wire.Event, queueLength), sleep: wait.Sleep, log: log,
			observe: func(outcome string) { observe(i, outcome) },
		}
		if hook.URL != "" {
			w.attempt = newPoster(hook, h.transport).post
		} else {
			w.attempt = commander{hook}.run
		}
		h.workers = append(h.workers, w)
	}
	return h
}

// Tell queues an event for the hooks that are to know of it. It does not block: a hook that has too many waiting misses it.
func (h *Hooks) Tell(e wire.Event) {
	for _, w := range h.workers {
		if slices.Contains(w.hook.Events, e.Kind) || slices.Contains(w.hook.Events, AllEvents) {
			w.add(e)
		}
	}
}

// Run delivers events until ctx ends. What is under way then is cut off, and what waits is dropped.
func (h *Hooks) Run(ctx context.Context) {
	defer h.transport.CloseIdleConnections()
	var all sync.WaitGroup
	for _, w := range h.workers {
		all.Go(func() { w.run(ctx) })
	}
	all.Wait()
}

// worker delivers the events of one hook, one after the other.
type worker struct {
	hook    Hook
	queue   chan wire.Event
	missed  atomic.Int64 // events that found the queue full since it was empty
	attempt func(ctx context.Context, e wire.Event, body []byte) error
	sleep   func(ctx context.Context, d time.Duration) error
	observe func(outcome string)
	log     *slog.Logger
}

func (w *worker) add(e wire.Event) {
	select {
	case w.queue <- e:
	default:
		w.observe(Dropped)
		if w.missed.Add(1) == 1 {
			w.log.Warn("hook does not keep up: it misses events until its queue is empty", "queued", queueLength, "kind", e.Kind, "claim", e.Claim)
		}
	}
}

func (w *worker) run(ctx context.Context) {
	for context.Cause(ctx) == nil {
		select {
		case <-ctx.Done():
		case e := <-w.queue:
			w.deliver(ctx, e)
			w.caughtUp()
		}
	}
	w.clear()
}

// caughtUp says how many events were missed, once the queue is empty again.
func (w *worker) caughtUp() {
	if len(w.queue) > 0 {
		return
	}
	if missed := w.missed.Swap(0); missed > 0 {
		w.log.Warn("hook keeps up again", "missed", missed)
	}
}

// clear drops what waits in the queue.
func (w *worker) clear() {
	dropped := 0
	for len(w.queue) > 0 {
		<-w.queue
		w.observe(Dropped)
		dropped++
	}
	if dropped > 0 {
		w.log.Warn("events for a hook are dropped: the daemon stops", "events", dropped)
	}
}

// deliver tries until an event is delivered, the attempts are used up or ctx ends.
func (w *worker) deliver(ctx context.Context, e wire.Event) {
	body, err := json.Marshal(e)
	if err != nil {
		w.log.Error("encode event", "kind", e.Kind, "err", err)
		w.observe(Failed)
		return
	}
	for failures := 1; ; failures++ {
		err := w.once(ctx, e, body)
		switch {
		case err == nil:
			w.observe(Delivered)
			return
		case context.Cause(ctx) != nil:
			w.log.Warn("hook is cut off: the daemon stops", "kind", e.Kind, "claim", e.Claim)
			w.observe(Dropped)
			return
		case failures > w.hook.Retries:
			w.log.Warn("hook failed", "kind", e.Kind, "claim", e.Claim, "attempts", w.hook.Retries+1, "err", err)
			w.observe(Failed)
			return
		}
		_ = w.sleep(ctx, deliveries.After(failures))
	}
}

// once makes one attempt.
func (w *worker) once(ctx context.Context, e wire.Event, body []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.hook.Timeout, fmt.Errorf("not done within %s: %w", w.hook.Timeout, context.DeadlineExceeded))
	defer cancel()
	err := w.attempt(ctx, e, body)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}
