package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sandpool/lifetime/wait"
	"sandpool/pool"
)

const (
	// reportEvery is how often the service manager is told how the pools are, if that has changed.
	reportEvery = time.Second
	// extension is how much longer a start or stop may take than the service manager allows, from each message that says so.
	extension = 30 * time.Second
	// watchLoopTime is how long the watcher may take for one round: a sweep of a full host, with a slow containerd.
	watchLoopTime = 5 * time.Minute
)

// extend asks the service manager for more time to start or stop.
func extend(by time.Duration) string { return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds()) }

// adopt takes over the sandboxes of an earlier daemon. It asks for time until that is done: every call that it makes has a
// deadline of its own, and a full host needs many.
func (d *Daemon) adopt(ctx context.Context, w *watcher) error {
	asking, stop := context.WithCancel(ctx)
	var asker sync.WaitGroup
	defer asker.Wait()
	defer stop()
	d.Notify("STATUS=Adopting sandboxes\n" + extend(extension))
	asker.Go(func() { wait.Every(asking, extension/3, func() { d.Notify(extend(extension)) }) })
	return w.reconcile(ctx, triggerStart)
}

// loop is one whose turns are counted. What reads the count also has it turn, if it can.
type loop struct {
	name  string
	turns func() uint64
	most  time.Duration // how long one turn may take; 0: not until the next look

	seen  uint64
	since time.Time // when it was first seen
}

// reporter tells the service manager how the daemon is. It gives a sign of life only while every loop turns, that which asks containerd
// for answers among them. A containerd that gives none is waited for: another daemon could do no more.
type reporter struct {
	notify func(state string)
	pools  func() []pool.Overview
	outage func() error
	loops  []*loop
	watch  time.Duration // how long the service manager waits for a sign of life; 0: it waits for none
	log    *slog.Logger

	mu      sync.Mutex
	refused error // why the last reload was
}

func (d *Daemon) newReporter(p *parts) *reporter {
	return &reporter{
		notify: d.Notify, pools: p.pools.Status, outage: p.pools.Outage, watch: d.Watchdog, log: d.Log,
		loops: []*loop{
			{name: "pools", turns: p.pools.Turns},
			{name: "lifetimes", turns: p.warden.Turns},
			{name: "templates", turns: p.templates.Turns},
			{name: "containerd", turns: p.watcher.rounds.Load, most: watchLoopTime},
		},
	}
}

// run reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	var watch sync.WaitGroup
	defer watch.Wait()
	if r.watch > 0 {
		// Three looks in its patience, so that one that was late or found a loop in the middle of its work costs nothing.
		interval := r.watch / 3
		watch.Go(func() { wait.Every(ctx, interval, func() { r.feed(time.Now()) }) })
	}
	said := ""
	wait.Every(ctx, reportEvery, func() {
		if now := r.status(); now != said {
			r.notify("STATUS=" + now)
			said = now
		}
	})
}

// reloaded notes how the last reload went.
func (r *reporter) reloaded(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = err
}

// status says how the daemon is, in the one line that the service manager shows.
func (r *reporter) status() string {
	var ready, claimed, starting, waiting int
	var faults []string
	pools := r.pools()
	for _, p := range pools {
		ready, claimed, starting, waiting = ready+p.Available, claimed+p.InUse, starting+p.Warming, waiting+p.Waiting
		if p.Degraded != "" {
			faults = append(faults, fmt.Sprintf("pool %s is degraded: %s", p.Name, p.Degraded))
		}
	}
	line := fmt.Sprintf("%d ready, %d claimed, %d starting, %d waiting; pools: %d", ready, claimed, starting, waiting, len(pools))
	if err := r.outage(); err != nil {
		faults = append(faults, err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused != nil {
		faults = append(faults, "the configuration was not reloaded, the old one stays: "+r.refused.Error())
	}
	return strings.Join(strings.Fields(strings.Join(append([]string{line}, faults...), "; ")), " ")
}

// feed gives a sign of life, or says why it does not.
func (r *reporter) feed(now time.Time) {
	if hanging := r.hanging(now); len(hanging) > 0 {
		r.log.Warn("the watchdog is not fed", "reason", "a loop hangs: "+strings.Join(hanging, ", "))
		return
	}
	r.notify("WATCHDOG=1")
}

// hanging are the names of the loops that do not go on.
func (r *reporter) hanging(now time.Time) (names []string) {
	for _, l := range r.loops {
		if n := l.turns(); n != l.seen || l.since.IsZero() {
			l.seen, l.since = n, now
		} else if now.Sub(l.since) > l.most {
			names = append(names, l.name)
		}
	}
	return names
}
