// Package daemon is sandpoold: it joins the runtime, the pools and the lifetimes, and serves the API on a unix socket.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"go.opentelemetry.io/otel/trace"

	"sandpool/configs"
	"sandpool/daemon/engine"
	"sandpool/daemon/events"
	"sandpool/daemon/hooks"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/image"
)

// removeTimeout bounds the removal of all sandboxes at a stop, with on_stop = "remove".
const removeTimeout = 2 * time.Minute

// Options are the parts a Daemon is made of. All fields but Listener, Reload and Load are required.
type Options struct {
	Config   configs.Config
	Reload   <-chan os.Signal               // asks for the configuration to be read again
	Load     func() (configs.Config, error) // reads it again; required with Reload
	Version  string
	Listener *net.UnixListener  // given by systemd; nil: the daemon makes the socket that Config names
	Notify   func(state string) // reports to the service manager; see sd_notify(3)
	Watchdog time.Duration      // how long it waits for a sign of life; 0: it waits for none
	Step     func(string)       // told at every step after which a crash must lose nothing
	Log      *slog.Logger
}

// Daemon is one run of sandpoold. Make one with New, then call Run once.
type Daemon struct {
	Options

	live        atomic.Pointer[configs.Config] // Config with what was reloaded since
	engine      *runtime.Engine
	events      *events.Log
	hooks       *hooks.Hooks
	teller      *teller
	warden      *lifetime.Warden
	checkpoints *checkpoints
	templates   *preparer
	images      *imageKeeper
	pools       *pool.Controller
	admission   *admission
	metrics     *metrics
	tracer      trace.Tracer
	watcher     *watcher
	reporter    *reporter
	stopping    chan struct{} // closed when the daemon begins to stop
}

// New makes a Daemon. It touches nothing.
func New(o Options) *Daemon {
	d := &Daemon{Options: o, stopping: make(chan struct{})}
	d.live.Store(&o.Config)
	return d
}

// Run starts the daemon, serves until ctx ends and stops. Its error is why the daemon could not start, serve or clean up,
// and says what to do about it; a ctx that ends is no error.
func (d *Daemon) Run(ctx context.Context) (err error) {
	started := time.Now()
	tracer, endTraces, err := openTracing(ctx, d.Config.Tracing, d.Version, d.Log)
	if err != nil {
		return err
	}
	defer endTraces()
	d.tracer = tracer
	d.Notify("STATUS=Trying containerd and runsc")
	d.metrics = d.newMetrics()
	cfg := engine.Config(d.Config)
	cfg.Step, cfg.Fetched, cfg.Called = d.Step, func(s image.Status) { d.teller.tell(imageEvent(s)) }, d.metrics.called
	d.engine, err = runtime.Open(ctx, cfg, d.Log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() { err = errors.Join(err, d.engine.Close()) }()
	d.events, err = events.Open(filepath.Join(d.Config.Daemon.StateDir, "events"), d.Config.Events.Keep, d.Log)
	if err != nil {
		return fmt.Errorf("open the log of events: %w", err)
	}
	defer func() { err = errors.Join(err, d.events.Close()) }()
	if err := d.join(ctx); err != nil {
		return unlessStopped(ctx, err)
	}
	stop, err := d.metrics.serveMetrics(ctx, d.Config.Daemon.MetricsAddress, d.Config.Daemon.MetricsExemplars, d.Log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer stop()
	ln := d.Listener
	if ln == nil {
		if ln, err = listen(ctx, d.Config.Daemon); err != nil {
			return unlessStopped(ctx, err)
		}
	}
	defer d.telling(ctx)()
	return d.serve(ctx, ln, newServer(d.api(started)))
}

// unlessStopped is err, or nil when the daemon was told to stop before it had started.
func unlessStopped(ctx context.Context, err error) error {
	if context.Cause(ctx) != nil {
		return nil
	}
	return err
}

// join makes the parts that work on the engine, and takes over what an earlier daemon left.
func (d *Daemon) join(ctx context.Context) error {
	store, err := checkpoint.Open(d.Config.Checkpoints.Dir, checkpoint.Options{Log: d.Log, Step: d.Step})
	if err != nil {
		return fmt.Errorf("%w: mend it or set checkpoints.dir", err)
	}
	d.checkpoints = &checkpoints{
		store: store, saver: d.engine, policy: func() configs.Checkpoints { return d.live.Load().Checkpoints }, told: d.saved, tracer: d.tracer, log: d.Log,
		pruned: func(p checkpoint.Pruned) { d.teller.tell(prunedEvent(p)) },
	}
	d.warden = lifetime.NewWarden(d.Log)
	d.admission = &admission{
		headroom: d.engine.Headroom, reserves: func() configs.Reserves { return d.live.Load().Reserves },
		promised: d.promised, log: d.Log,
	}
	d.admission.measure(ctx)
	d.templates = newPreparer(d.engine, d.Config.Images.Parallel, d.metrics.failed, d.Log)
	d.pools = pool.New(pool.Options{
		Pools: poolConfigs(d.Config, d.templates.fingerprint), Backend: backend{d.engine, d.checkpoints, d.templates, d.metrics.failed}, Deadlines: d.warden, NewID: runtime.NewID,
		Starts: startsAtOnce(d.Config.Limits), Admit: d.admission.reason, Step: d.Step, Starting: d.traceStart,
		Tell: func(e pool.Event) { d.teller.tell(claimEvent(e)) }, Started: func(template string, how pool.Started) { d.metrics.started(template, how) }, Log: d.Log,
	})
	d.checkpoints.pools = d.pools
	d.joinTemplates(store)
	d.hooks = hooks.New(hookList(d.Config), d.metrics.hooked, d.Log)
	d.teller = newTeller(d.events, d.hooks, d.told, d.Log)
	d.watcher = &watcher{
		sandboxes: d.engine, pools: d.pools, address: d.Config.Containerd.Address, reconciled: d.metrics.reconciled, counted: d.metrics.died, log: d.Log,
	}
	d.reporter = d.newReporter()
	if err := d.adopt(ctx); err != nil {
		return err
	}
	if err := tellVanished(d.events, d.pools.Knows, d.teller.tell); err != nil {
		return fmt.Errorf("read the log of events: %w", err)
	}
	d.checkpoints.clear()
	d.checkpoints.prune()
	return nil
}

// newMetrics makes the metrics before what they show: nobody can ask for them until all is there.
func (d *Daemon) newMetrics() *metrics {
	return newMetrics(sources{
		version: d.Version, pools: func() []pool.Overview { return d.pools.Status() },
		blocks:      func(resource string) bool { return d.admission.blocks(resource) },
		claims:      func() []pool.Claim { return d.pools.Claims() },
		checkpoints: func() []checkpoint.Manifest { return d.checkpoints.store.List() },
		outage:      func() error { return d.pools.Outage() },
	})
}

// joinTemplates lets the templates, their snapshots and the pools know of each other.
func (d *Daemon) joinTemplates(store *checkpoint.Store) {
	saved := &snapshots{store: store, pools: d.pools, engine: d.engine, region: d.Config.Region, log: d.Log}
	d.templates.pools, d.templates.snapshot = d.pools, saved.of
	d.templates.set(templates(d.Config))
	d.images = newImageKeeper(d.engine, d.templates, store.List, d.Log)
	d.templates.tidy = func() {
		saved.drop(d.templates.keeps)
		d.images.poke()
	}
	d.checkpoints.tidy = d.templates.tidy
}

// telling passes events on until the returned function is called, which returns when all of them were.
func (d *Daemon) telling(ctx context.Context) (stop func()) {
	telling, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	hooking, stopHooking := context.WithCancel(context.WithoutCancel(ctx))
	var tellers, hookers sync.WaitGroup
	tellers.Go(func() { d.teller.run(telling) })
	hookers.Go(func() { d.hooks.Run(hooking) })
	return func() {
		stopTelling()
		tellers.Wait()
		stopHooking()
		hookers.Wait()
	}
}

// told is told of each event after all others were.
func (d *Daemon) told(e wire.Event) {
	d.metrics.happened(e.Kind)
	if saved := e.Detail["checkpoint"]; saved != "" && (e.Kind == pool.EventReleased || e.Kind == pool.EventKilled) {
		d.checkpoints.forget(saved)
	}
}

// saved is told how each attempt to save a claim's sandbox went.
func (d *Daemon) saved(claim pool.Claim, m checkpoint.Manifest, trigger string, took time.Duration, err error) {
	d.metrics.saved(trigger, took, m.Bytes, err)
	d.teller.tell(checkpointEvent(claim, m, trigger, err))
}

// serve runs all loops and the server until ctx ends, then stops them: first what asks, then what works.
func (d *Daemon) serve(ctx context.Context, ln net.Listener, s *server) error {
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	defer rest()
	var loops sync.WaitGroup
	loops.Go(func() { d.pools.Run(working) })
	loops.Go(func() { d.templates.run(working) })
	loops.Go(func() { d.warden.Run(working, d.pools, d.ladder(), d.Config.Checkpoints.Timeout.Std()) })
	loops.Go(func() { d.idler().run(working) })
	loops.Go(func() { d.checkpoints.run(working) })
	loops.Go(func() { d.images.run(working) })
	loops.Go(func() { d.watcher.run(working) })
	loops.Go(func() { d.admission.run(working) })
	loops.Go(func() { d.reloads(working) })
	loops.Go(func() { d.reporter.run(working) })
	served := make(chan error, 1)
	loops.Go(func() { served <- s.serve(ln) })
	d.Log.Info("sandpoold serves", "version", d.Version, "socket", ln.Addr().String(), "pid", os.Getpid())
	d.Notify("READY=1\nSTATUS=" + d.reporter.status())

	var err error
	select {
	case <-ctx.Done():
		d.Log.Info("sandpoold stops", "reason", context.Cause(ctx))
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
	}
	d.Notify("STOPPING=1\nSTATUS=Finishing requests\n" + extend(stopGrace+extension))
	close(d.stopping)
	s.stop()
	rest()
	loops.Wait()
	if d.Config.Daemon.OnStop == configs.OnStopRemove {
		d.Notify("STATUS=Removing sandboxes\n" + extend(removeTimeout+extension))
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		d.pools.RemoveAll(cleanup)
	}
	return err
}

// every does something at an interval until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// ready returns why the daemon cannot do its work, or nil.
func (d *Daemon) ready() error {
	if err := d.pools.Outage(); err != nil {
		return err
	}
	for _, p := range d.pools.Status() {
		if p.Degraded != "" {
			return fmt.Errorf("pool %s is degraded: %w", p.Name, &pool.StartError{Reason: p.Degraded, Class: errdefs.ErrUnavailable})
		}
	}
	return nil
}

func (d *Daemon) api(started time.Time) *api {
	return &api{
		claims:    d.pools,
		keeper:    d.checkpoints,
		shelf:     d.checkpoints.store,
		feed:      feed{log: d.events, stopping: d.stopping},
		pools:     d.pools.Status,
		sizes:     d.pools,
		catalogue: templateCatalogue{d.templates, d.engine, d.pools},
		images:    d.engine.Images().List,
		alive:     d.engine.Alive,
		exec: func(ctx context.Context, sandbox string, spec runtime.ExecSpec) (process, error) {
			return d.engine.Exec(ctx, sandbox, spec)
		},
		large: make(chan struct{}, largeBodies),
		ready: d.ready,
		info:  d.info(started), promised: d.admission.total,
		config:  d.live.Load,
		crowd:   newCrowd(d.live.Load, d.metrics.refused),
		metrics: d.metrics,
		tracer:  d.tracer,
		log:     d.Log,
	}
}

func (d *Daemon) ladder() *ladder {
	return &ladder{sandboxes: d.engine, claims: d.pools, checkpoints: d.checkpoints, log: d.Log}
}

func (d *Daemon) idler() *idler {
	return &idler{
		claims: d.pools,
		policy: func(kind string) configs.Idle { return d.live.Load().Lifetimes[kind].Idle() },
		cpu:    d.engine.CPUTimes,
		save: func(ctx context.Context, claim pool.Claim) (string, error) {
			ctx, done := d.checkpoints.traceSave(ctx, claim.ID, triggerIdle)
			m, err := d.checkpoints.save(ctx, claim, triggerIdle, "")
			done(m, err)
			return m.ID, err
		},
		log: d.Log,
	}
}

func (d *Daemon) info(started time.Time) wire.Info {
	on := d.engine.Info()
	info := wire.Info{
		Version: d.Version, PID: os.Getpid(), StartedAt: started, Region: d.Config.Region,
		Containerd: on.Containerd, Namespace: d.Config.Containerd.Namespace, Runsc: on.Runsc, Platform: on.Platform,
		Canaries: []wire.Canary{}, Warnings: on.Warnings,
	}
	for _, c := range on.Canaries {
		info.Canaries = append(info.Canaries, wire.Canary{Platform: c.Platform, OK: c.OK, Reason: c.Reason})
	}
	return info
}
