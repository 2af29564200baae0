package daemon

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"golang.org/x/sys/unix"

	"sandpool/configs"
	"sandpool/daemon/engine"
)

// reloads reads the configuration again whenever that is asked for.
func (d *Daemon) reloads(ctx context.Context, p *parts) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.Reload:
			d.Notify(reloading())
			err := d.reload(p)
			if err != nil {
				d.Log.Error("configuration is not reloaded; the old one stays", "err", err)
			}
			p.reporter.reloaded(err)
			d.Notify("READY=1\nSTATUS=" + p.reporter.status())
		}
	}
}

// reloading is what the service manager is told; it compares the time with that of its own request.
func reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail with this clock
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

// reload takes over what a running daemon can of the configuration as it is now. On an error nothing changes.
func (d *Daemon) reload(p *parts) error {
	next, err := d.Load()
	if err != nil {
		return err
	}
	if err := checkInterfaces(next); err != nil {
		return err
	}
	now := *d.live.Load()
	if fixed := fixedChanges(now, next); len(fixed) > 0 {
		d.Log.Warn("some changes wait for a restart", "keys", strings.Join(fixed, ", "))
	}
	if err := setSecrets(next, p.network); err != nil {
		return err
	}
	now = applied(now, next)
	d.live.Store(&now)
	p.pools.Configure(poolConfigs(now))
	p.engine.Images().SetPolicy(engine.Images(now))
	p.templates.Limit(now.Images.Parallel)
	p.templates.Set(wantedTemplates(now))
	d.Log.Info("configuration reloaded", "templates", len(now.Templates), "pools", len(now.Pools))
	return nil
}

// applied is a configuration with what a running daemon can take over of another.
func applied(now, next configs.Config) configs.Config {
	now.Templates, now.Pools, now.Lifetimes, now.Reserves = next.Templates, next.Pools, next.Lifetimes, next.Reserves
	now.Caps, now.Images, now.Secrets = next.Caps, next.Images, next.Secrets
	limits := next.Limits
	limits.StartTimeout, limits.PauseTimeout, limits.KillTimeout, limits.Starts = now.Limits.StartTimeout, now.Limits.PauseTimeout, now.Limits.KillTimeout, now.Limits.Starts
	now.Limits = limits
	bounds := next.Checkpoints
	bounds.Dir, bounds.Timeout = now.Checkpoints.Dir, now.Checkpoints.Timeout
	now.Checkpoints = bounds
	return now
}

// fixedChanges names what differs between two configurations and cannot change in a running daemon.
func fixedChanges(now, next configs.Config) []string {
	// Where a flag was set is for messages only.
	for _, c := range []*configs.Config{&now, &next} {
		c.Runsc.Flags = withoutPlaces(c.Runsc.Flags)
	}
	var changed []string
	for _, part := range []struct {
		key       string
		now, next any
	}{
		{"region", now.Region, next.Region},
		{"[daemon]", now.Daemon, next.Daemon},
		{"[containerd]", now.Containerd, next.Containerd},
		{"[runsc]", now.Runsc, next.Runsc},
		{"limits.start_timeout", now.Limits.StartTimeout, next.Limits.StartTimeout},
		{"limits.pause_timeout", now.Limits.PauseTimeout, next.Limits.PauseTimeout},
		{"limits.kill_timeout", now.Limits.KillTimeout, next.Limits.KillTimeout},
		{"limits.starts", now.Limits.Starts, next.Limits.Starts},
		{"checkpoints.dir", now.Checkpoints.Dir, next.Checkpoints.Dir},
		{"checkpoints.timeout", now.Checkpoints.Timeout, next.Checkpoints.Timeout},
		{"[events]", now.Events, next.Events},
		{"[tracing]", now.Tracing, next.Tracing},
		{"[network]", now.Network, next.Network},
		{"[[hooks]]", now.Hooks, next.Hooks},
	} {
		if !reflect.DeepEqual(part.now, part.next) {
			changed = append(changed, part.key)
		}
	}
	return changed
}

func withoutPlaces(flags map[string]configs.Setting) map[string]configs.Setting {
	plain := map[string]configs.Setting{}
	for name, s := range flags {
		plain[name] = configs.Setting{Value: s.Value}
	}
	return plain
}
