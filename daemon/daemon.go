// Package daemon is sandpoold: it joins the runtime, the pools and the lifetimes, and serves the API on a unix socket.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	goruntime "runtime"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/runtime"
)

const (
	// coldMax is the most sandboxes that a template without a pool may have at once. None is kept ready.
	coldMax = 32
	// removeTimeout bounds the removal of all sandboxes at a stop, with on_stop = "remove".
	removeTimeout = 2 * time.Minute
)

// Options are the parts a Daemon is made of. All fields but Listener are required.
type Options struct {
	Config   configs.Config
	Version  string
	Listener *net.UnixListener  // given by systemd; nil: the daemon makes the socket that Config names
	Notify   func(state string) // reports to the service manager; see sd_notify(3)
	Log      *slog.Logger
}

// Daemon is one run of sandpoold. Make one with New, then call Run once.
type Daemon struct {
	Options

	engine  *runtime.Engine
	keeper  *lifetime.Keeper
	pools   *pool.Controller
	watcher *watcher
}

// New makes a Daemon. It touches nothing.
func New(o Options) *Daemon { return &Daemon{Options: o} }

// Run starts the daemon, serves until ctx ends and stops. Its error is why the daemon could not start, serve or clean up,
// and says what to do about it; a ctx that ends is no error.
func (d *Daemon) Run(ctx context.Context) (err error) {
	started := time.Now()
	d.Notify("STATUS=Trying containerd and runsc")
	d.engine, err = runtime.Open(ctx, engineConfig(d.Config), d.Log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() { err = errors.Join(err, d.engine.Close()) }()
	d.Notify("STATUS=Preparing templates")
	if err := d.prepare(ctx); err != nil {
		return unlessStopped(ctx, err)
	}
	d.keeper = lifetime.NewKeeper()
	d.pools = pool.New(d.poolOptions())
	d.watcher = &watcher{sandboxes: d.engine, pools: d.pools, address: d.Config.Containerd.Address, log: d.Log}
	if err := d.watcher.reconcile(ctx); err != nil {
		return unlessStopped(ctx, err)
	}
	ln := d.Listener
	if ln == nil {
		if ln, err = listen(ctx, d.Config.Daemon); err != nil {
			return unlessStopped(ctx, err)
		}
	}
	return d.serve(ctx, ln, newServer(d.api(started)))
}

// unlessStopped is err, or nil when the daemon was told to stop before it had started.
func unlessStopped(ctx context.Context, err error) error {
	if context.Cause(ctx) != nil {
		return nil
	}
	return err
}

// prepare makes every template ready.
func (d *Daemon) prepare(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(d.Config.Templates)) {
		t := d.Config.Templates[name]
		err := d.engine.Prepare(ctx, name, runtime.Template{Image: t.Image, Command: t.Command, ImageCommand: t.ImageCommand, Env: t.Env})
		if err != nil {
			return fmt.Errorf("mend or remove [templates.%s]: %w", name, err)
		}
	}
	return nil
}

// serve runs all loops and the server until ctx ends, then stops them: first what asks, then what works.
func (d *Daemon) serve(ctx context.Context, ln net.Listener, s *server) error {
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	defer rest()
	var loops sync.WaitGroup
	loops.Go(func() { d.pools.Run(working) })
	loops.Go(func() { d.keeper.Run(working, d.pools.Expire) })
	loops.Go(func() { d.watcher.run(working) })
	served := make(chan error, 1)
	loops.Go(func() { served <- s.serve(ln) })
	d.Log.Info("sandpoold serves", "version", d.Version, "socket", ln.Addr().String(), "pid", os.Getpid())
	d.Notify("READY=1\nSTATUS=Serving on " + ln.Addr().String())

	var err error
	select {
	case <-ctx.Done():
		d.Log.Info("sandpoold stops", "reason", context.Cause(ctx))
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
	}
	d.Notify("STOPPING=1\nSTATUS=Finishing requests")
	s.stop()
	rest()
	loops.Wait()
	if d.Config.Daemon.OnStop == configs.OnStopRemove {
		d.Notify("STATUS=Removing sandboxes")
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		d.pools.RemoveAll(cleanup)
	}
	return err
}

// ready returns why the daemon cannot do its work, or nil.
func (d *Daemon) ready(ctx context.Context) error {
	if err := d.watcher.status(); err != nil {
		return err
	}
	if err := d.engine.Ping(ctx); err != nil {
		return unavailable(err)
	}
	for _, p := range d.pools.Status() {
		if p.Degraded != "" {
			return errdefs.ErrUnavailable.WithMessage(fmt.Sprintf("pool %s is degraded: %s", p.Name, p.Degraded))
		}
	}
	return nil
}

func (d *Daemon) api(started time.Time) *api {
	return &api{
		claims: d.pools,
		pools:  d.pools.Status,
		exec: func(ctx context.Context, sandbox string, spec runtime.ExecSpec) (process, error) {
			return d.engine.Exec(ctx, sandbox, spec)
		},
		ready:   d.ready,
		info:    d.info(started),
		limits:  d.Config.Limits,
		metrics: newMetrics(d.Version, d.pools.Status),
		log:     d.Log,
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

// poolOptions makes a pool for every template. One that has none configured keeps nothing ready.
func (d *Daemon) poolOptions() pool.Options {
	var list []pool.Config
	for _, name := range slices.Sorted(maps.Keys(d.Config.Templates)) {
		size, ok := d.Config.Pools[name]
		if !ok {
			size = configs.Pool{Max: coldMax}
		}
		list = append(list, pool.Config{
			Name: poolName(d.Config.Region, name), Template: name, Fingerprint: d.engine.Fingerprint(name), Recycle: pool.RecycleDestroy,
			Size: pool.Size{Min: size.Target, Target: size.Target, Max: size.Max, ScaleUp: 70, ScaleDown: 30},
		})
	}
	starts := d.Config.Limits.Starts
	if starts == 0 {
		starts = goruntime.GOMAXPROCS(0)
	}
	return pool.Options{
		Pools: list, Backend: d.engine, Deadlines: d.keeper, NewID: runtime.NewID, Starts: starts,
		Admit: func() string { return "" }, Step: func(string) {}, Log: d.Log,
	}
}

func poolName(region, template string) string { return region + ":" + template }

func engineConfig(c configs.Config) runtime.Config {
	settings := map[string]runtime.Setting{}
	for name, s := range c.Runsc.Flags {
		settings[name] = runtime.Setting{Value: s.Value, Pos: s.Pos}
	}
	return runtime.Config{
		Address: c.Containerd.Address, Namespace: c.Containerd.Namespace, Snapshotter: c.Containerd.Snapshotter,
		ConnectTimeout: c.Containerd.ConnectTimeout.Std(),
		Runsc:          c.Runsc.Path, Shim: c.Runsc.Shim, Init: c.Runsc.Init, StateDir: c.Daemon.StateDir,
		Platforms: c.Runsc.Platform, Settings: settings,
		CanaryTimeout: c.Runsc.CanaryTimeout.Std(), StartTimeout: c.Limits.StartTimeout.Std(),
		PauseTimeout: c.Limits.PauseTimeout.Std(), KillTimeout: c.Limits.KillTimeout.Std(),
		Step: func(string) {},
	}
}
