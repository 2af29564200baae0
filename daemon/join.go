package daemon

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"go.opentelemetry.io/otel/trace"

	"sandpool/configs"
	"sandpool/daemon/api"
	"sandpool/daemon/doors"
	"sandpool/daemon/events"
	"sandpool/daemon/hooks"
	"sandpool/daemon/network"
	"sandpool/daemon/processes"
	"sandpool/daemon/rules"
	"sandpool/daemon/telemetry"
	"sandpool/daemon/templates"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/image"
)

// ground is what the parts stand on. It knows none of them.
type ground struct {
	tracer   trace.Tracer
	metrics  *telemetry.Metrics
	happened *queue
	engine   *runtime.Engine
	nics     interfaces
	events   *events.Log
}

// parts are what the daemon is made of, in the order in which they are made: each knows those before it only.
type parts struct {
	ground

	network     *network.Server
	doors       *doors.Keeper
	restorer    *restorer
	warden      *lifetime.Warden
	admission   *admission
	pools       *pool.Controller
	templates   *templates.Preparer
	checkpoints *checkpoints
	hooks       *hooks.Hooks
	teller      *teller
	watcher     *watcher
	expiry      *expiry
	idler       *idler
	reporter    *reporter

	promised    func() wire.Promised // to the sandboxes that there are
	saveTimeout time.Duration        // of a checkpoint
}

// join makes the parts that work on the engine, and takes over what an earlier daemon left.
func (d *Daemon) join(ctx context.Context, g ground) (*parts, error) {
	store, err := checkpoint.Open(d.Config.Checkpoints.Dir, checkpoint.Options{Log: d.Log, Step: d.Step})
	if err != nil {
		return nil, fmt.Errorf("%w: mend it or set checkpoints.dir", err)
	}
	p := &parts{ground: g, saveTimeout: d.Config.Checkpoints.Timeout.Std()}
	p.network = d.newNetwork(p)
	if err := setSecrets(d.Config, p.network); err != nil {
		return nil, err
	}
	p.doors = doors.New(doors.Options{Open: g.engine.Door, Server: p.network, Log: d.Log})
	p.restorer = &restorer{store: store, engine: g.engine, doors: p.doors, log: d.Log}
	p.warden = lifetime.NewWarden(d.Log)
	p.admission = &admission{headroom: g.engine.Headroom, reserves: func() configs.Reserves { return d.live.Load().Reserves }, log: d.Log}
	p.admission.measure(ctx, wire.Promised{}) // there is no sandbox yet that anybody knows of
	p.pools = d.newPools(p)
	p.promised = func() wire.Promised { return promised(p.pools.Status(), d.live.Load().Templates) }
	p.templates = templates.New(templates.Options{
		Engine: equipper{g.engine, p.doors}, PruneImages: g.engine.Images().Prune, Store: store, Pools: p.pools, Restore: p.restorer.restore, Region: d.Config.Region,
		Parallel: d.Config.Images.Parallel, Failed: g.metrics.Failed, Log: d.Log,
	})
	p.checkpoints = d.newCheckpoints(p)
	p.hooks = hooks.New(hookList(d.Config), g.metrics.Hooked, d.Log)
	p.teller = &teller{
		queue: g.happened, events: g.events, hooks: p.hooks, count: g.metrics.Happened, log: d.Log,
		ended: p.ended,
	}
	p.watcher = &watcher{
		sandboxes: g.engine, pools: p.pools, address: d.Config.Containerd.Address, reconciled: g.metrics.Reconciled, counted: g.metrics.Died, log: d.Log,
	}
	p.expiry = &expiry{sandboxes: g.engine, claims: p.pools, checkpoints: p.checkpoints, log: d.Log}
	p.idler = d.newIdler(p)
	p.reporter = d.newReporter(p)
	p.metrics.Watch(telemetry.Sources{
		Pools: p.pools.Status, Claims: p.pools.Claims, Checkpoints: store.List, Outage: p.pools.Outage,
		Resources: resources, Blocks: p.admission.blocks,
	})
	return p, d.takeOver(ctx, p)
}

// ended forgets what was kept for a claim that has ended.
func (p *parts) ended(c pool.Claim) {
	p.restorer.forget(c.Saved)
	p.network.Drop(rules.Keys(c.Network)...)
}

// takeOver adopts what an earlier daemon left, and has the templates made ready.
func (d *Daemon) takeOver(ctx context.Context, p *parts) error {
	p.templates.Set(wantedTemplates(d.Config))
	if err := d.adopt(ctx, p.watcher); err != nil {
		return err
	}
	if err := openDoors(ctx, p.engine, p.doors); err != nil {
		return err
	}
	if err := tellVanished(p.events, p.pools.Knows, p.happened.put); err != nil {
		return fmt.Errorf("read the log of events: %w", err)
	}
	p.checkpoints.clear()
	p.checkpoints.prune()
	return nil
}

func (d *Daemon) newPools(p *parts) *pool.Controller {
	return pool.New(pool.Options{
		Pools: poolConfigs(d.Config), Backend: backend{p.engine, p.restorer, p.doors, p.network.Recount, p.metrics.Failed}, Deadlines: p.warden, NewID: runtime.NewID,
		Starts: startsAtOnce(d.Config.Limits), Admit: p.admission.reason, Step: d.Step, Starting: traceStarts(p.tracer, d.Config.Region),
		Tell: func(e pool.Event) { p.happened.put(ofClaim(e)) }, Started: p.metrics.Started, Log: d.Log,
	})
}

func (d *Daemon) newCheckpoints(p *parts) *checkpoints {
	return &checkpoints{
		restorer: p.restorer, saver: p.engine, pools: p.pools, tidy: p.templates.Tidy, tracer: p.tracer,
		policy: func() configs.Checkpoints { return d.live.Load().Checkpoints },
		told: func(claim pool.Claim, m checkpoint.Manifest, trigger string, took time.Duration, err error) {
			p.metrics.Saved(trigger, took, m.Bytes, err)
			p.happened.put(ofSave{claim, m, trigger, err})
		},
		pruned: func(v checkpoint.Pruned) { p.happened.put(ofPruned(v)) },
	}
}

func (d *Daemon) newIdler(p *parts) *idler {
	return &idler{
		claims: p.pools,
		policy: func(kind string) configs.Idle { return d.live.Load().Lifetimes[kind].Idle() },
		cpu:    hostproc.CPUTimes,
		save: func(ctx context.Context, claim pool.Claim) (string, error) {
			ctx, done := p.checkpoints.traceSave(ctx, claim.ID, checkpoint.TriggerIdle)
			m, err := p.checkpoints.save(ctx, claim, checkpoint.TriggerIdle, "")
			done(m, err)
			return m.ID, err
		},
		log: d.Log,
	}
}

// loops are what the parts do until their context ends.
func (p *parts) loops() []func(context.Context) {
	return []func(context.Context){
		p.pools.Run, p.templates.Run, p.idler.run, p.checkpoints.run, p.watcher.run, p.reporter.run,
		func(ctx context.Context) { p.warden.Run(ctx, p.pools, p.expiry, p.saveTimeout) },
		func(ctx context.Context) { p.admission.run(ctx, p.promised) },
	}
}

// telling passes events on until the returned function is called, which returns when all of them were.
func (p *parts) telling(ctx context.Context) (stop func()) {
	telling, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	hooking, stopHooking := context.WithCancel(context.WithoutCancel(ctx))
	var tellers, hookers sync.WaitGroup
	tellers.Go(func() { p.teller.run(telling) })
	hookers.Go(func() { p.hooks.Run(hooking) })
	return func() {
		stopTelling()
		tellers.Wait()
		stopHooking()
		hookers.Wait()
	}
}

// ready returns why the daemon cannot do its work, or nil.
func (p *parts) ready() error {
	if err := p.pools.Outage(); err != nil {
		return err
	}
	for _, v := range p.pools.Status() {
		if v.Degraded != "" {
			return fmt.Errorf("pool %s is degraded: %w", v.Name, &pool.StartError{Reason: v.Degraded, Class: errdefs.ErrUnavailable})
		}
	}
	return nil
}

// images lists the images that the runtime knows. All that can be wrong with that is containerd's.
func (p *parts) images(ctx context.Context) ([]image.Status, error) {
	known, err := p.engine.Images().List(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	return known, nil
}

func (d *Daemon) api(p *parts, started time.Time) api.Options {
	return api.Options{
		Claims: p.pools, Keeper: p.checkpoints, Shelf: p.restorer.store, Events: p.events, Stopping: d.stopping,
		Pools: p.pools.Status, Sizes: p.pools, Images: p.images, Catalogue: templates.NewCatalogue(p.templates, equipper{p.engine, p.doors}, p.pools),
		Exec: func(ctx context.Context, sandbox string, spec runtime.ExecSpec) (processes.Process, error) {
			return p.engine.Exec(ctx, sandbox, spec)
		},
		Processes: p.engine.Processes, Port: p.port, Networks: networks{p.network},
		Ready: p.ready, Alive: p.engine.Alive, Info: d.info(p.engine.Info(), started), Promised: p.admission.total,
		Config: d.live.Load, Metrics: p.metrics, Step: d.Step, Tracer: p.tracer, Log: d.Log,
	}
}

func (d *Daemon) info(on runtime.Info, started time.Time) wire.Info {
	info := wire.Info{
		Version: d.Version, PID: os.Getpid(), StartedAt: started, Region: d.Config.Region,
		Containerd: on.Containerd, Namespace: d.Config.Containerd.Namespace, Runsc: on.Runsc, Shim: on.Shim, Platform: on.Platform,
		Canaries: []wire.Canary{}, Warnings: on.Warnings,
	}
	for _, c := range on.Canaries {
		info.Canaries = append(info.Canaries, wire.Canary{Platform: c.Platform, OK: c.OK, Reason: c.Reason})
	}
	return info
}

// labels are the values of labels whose series begin at zero.
func labels() telemetry.Labels {
	return telemetry.Labels{
		Events: newsKinds, Reconciles: reconciles, Refusals: api.Refusals,
		Saves: []string{checkpoint.TriggerRequest, checkpoint.TriggerExpiry, checkpoint.TriggerIdle, checkpoint.TriggerFork},
	}
}
