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

	"sandpool/configs"
	"sandpool/daemon/api"
	"sandpool/daemon/engine"
	"sandpool/daemon/events"
	"sandpool/daemon/telemetry"
	"sandpool/runtime"
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

	live     atomic.Pointer[configs.Config] // Config with what was reloaded since
	stopping chan struct{}                  // closed when the daemon begins to stop
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
	tracer, endTraces, err := telemetry.OpenTracing(ctx, d.Config.Tracing, d.Version, d.Log)
	if err != nil {
		return err
	}
	defer endTraces()
	d.Notify("STATUS=Trying containerd and runsc")
	metrics, happened := telemetry.New(d.Version, labels()), newQueue()
	if err := checkInterfaces(d.Config); err != nil {
		return err
	}
	cfg := engine.Config(d.Config)
	nics := newInterfaces(d.Config)
	cfg.NICs = nics
	cfg.Step, cfg.Fetched, cfg.Called = d.Step, func(s image.Status) { happened.put(ofImage(s)) }, metrics.Called
	on, err := runtime.Open(ctx, cfg, d.Log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() { err = errors.Join(err, on.Close()) }()
	log, err := events.Open(filepath.Join(d.Config.Daemon.StateDir, "events"), d.Config.Events.Keep, d.Log)
	if err != nil {
		return fmt.Errorf("open the log of events: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	p, err := d.join(ctx, ground{tracer: tracer, metrics: metrics, happened: happened, engine: on, nics: nics, events: log})
	if err != nil {
		return unlessStopped(ctx, err)
	}
	return d.open(ctx, p, started)
}

// open serves what the parts can do, at the socket and at the address of the metrics, until ctx ends.
func (d *Daemon) open(ctx context.Context, p *parts, started time.Time) error {
	stop, err := p.metrics.Serve(ctx, d.Config.Daemon.MetricsAddress, d.Config.Daemon.MetricsExemplars, d.Log)
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
	defer p.telling(ctx)()
	defer p.doors.Close()
	return d.serve(ctx, ln, p, api.New(d.api(p, started)))
}

// unlessStopped is err, or nil when the daemon was told to stop before it had started.
func unlessStopped(ctx context.Context, err error) error {
	if context.Cause(ctx) != nil {
		return nil
	}
	return err
}

// serve runs all loops and the server until ctx ends, then stops them: first what asks, then what works.
func (d *Daemon) serve(ctx context.Context, ln net.Listener, p *parts, s *api.Server) error {
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	defer rest()
	var loops sync.WaitGroup
	for _, run := range p.loops() {
		loops.Go(func() { run(working) })
	}
	loops.Go(func() { d.reloads(working, p) })
	served := make(chan error, 1)
	loops.Go(func() { served <- s.Serve(ln) })
	d.Log.Info("sandpoold serves", "version", d.Version, "socket", ln.Addr().String(), "pid", os.Getpid())
	d.Notify("READY=1\nSTATUS=" + p.reporter.status())

	var err error
	select {
	case <-ctx.Done():
		d.Log.Info("sandpoold stops", "reason", context.Cause(ctx))
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
	}
	d.Notify("STOPPING=1\nSTATUS=Finishing requests\n" + extend(api.StopGrace+extension))
	close(d.stopping)
	s.Stop()
	rest()
	loops.Wait()
	if d.Config.Daemon.OnStop == configs.OnStopRemove {
		d.Notify("STATUS=Removing sandboxes\n" + extend(removeTimeout+extension))
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		p.pools.RemoveAll(cleanup)
	}
	return err
}
