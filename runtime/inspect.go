package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/introspection/v1"

	"sandpool/runtime/call"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/resource"
	"sandpool/runtime/runsc"
)

// Inspection is what a look at containerd and runsc found, part by part. Errors say what to do about them.
type Inspection struct {
	Runsc        string // version
	RunscErr     error  // it is missing, does not run, or is known to be bad
	RunscWarning string
	Sidecars     []string // programs that runsc wants beside it and that are missing
	Init         error
	Flags        error    // in [runsc.flags]
	FlagWarnings []string // likewise

	Containerd        string // version
	ContainerdErr     error
	Plugins           []string // what is wrong with those that sandboxes need
	ShimName          string   // as containerd is told
	Snapshotter, Shim error

	Canaries    []Canary // none when a part that they need is missing
	Headroom    hostproc.Headroom
	HeadroomErr error
}

// needed are the plugins of containerd that sandboxes need, besides the snapshotter.
var needed = []string{
	"io.containerd.runtime.v2/task",
	"io.containerd.grpc.v1/containers", "io.containerd.grpc.v1/content", "io.containerd.grpc.v1/events", "io.containerd.grpc.v1/images",
	"io.containerd.grpc.v1/leases", "io.containerd.grpc.v1/snapshots", "io.containerd.grpc.v1/tasks",
}

const snapshotterType = "io.containerd.snapshotter.v1"

// Inspect looks at all that an engine needs and tries every platform. It disturbs no engine that runs: its trials are in a namespace and in a
// folder of their own, which it removes, with what one that was killed left there. Of two at once the second is refused.
func Inspect(ctx context.Context, cfg Config) (found Inspection, err error) {
	dir := trialDir(cfg)
	lock, err := lockTrials(dir)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), lock.Close()) }()
	cfg.StateDir, cfg.Namespace = dir, cfg.Namespace+"-doctor"
	cfg.Step, cfg.Called = func(string) {}, func(string, time.Duration, error) {}
	e := newEngine(cfg, slog.New(slog.DiscardHandler))
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := e.lockState(); err != nil {
		return found, err
	}
	e.inspectRunsc(ctx, &found)
	e.inspectContainerd(ctx, &found)
	if errors.Join(found.RunscErr, found.Flags, found.Init, found.ContainerdErr, found.Snapshotter, found.Shim) != nil {
		return found, nil
	}
	if err := e.lockNamespace(ctx); err != nil {
		return found, fmt.Errorf("another doctor may be at work, wait for its end: %w", err)
	}
	if err := e.clearTrials(ctx); err != nil {
		return found, err
	}
	for _, platform := range runsc.Platforms {
		found.Canaries = append(found.Canaries, e.tryPlatform(ctx, platform))
	}
	ctx = context.WithoutCancel(ctx) // an interrupt leaves nothing
	err = errors.Join(e.clearTrials(ctx), e.removeNamespace(ctx))
	groups, _ := resource.Cgroups(cfg.Namespace, "") // the folder of those of the trials; one that is still in use harms nobody
	for _, group := range groups {
		_ = os.Remove(group)
	}
	return found, err
}

func (e *Engine) inspectRunsc(ctx context.Context, found *Inspection) {
	found.Init = e.findInit()
	if found.RunscErr = e.findRunsc(ctx); found.RunscErr != nil {
		return
	}
	found.Runsc = e.info.Runsc
	found.RunscWarning, found.RunscErr = e.runsc.CheckVersion()
	if found.Flags = e.runsc.ReadFlags(ctx); found.Flags != nil {
		return
	}
	found.Flags = e.applySettings(ctx)
	found.FlagWarnings = e.info.Warnings
	found.Sidecars = e.runsc.MissingSidecars()
}

func (e *Engine) inspectContainerd(ctx context.Context, found *Inspection) {
	// A socket that nobody serves is known at once, where connect would wait.
	if _, err := hostproc.PeerOf(ctx, e.cfg.Address); err != nil {
		found.ContainerdErr = fmt.Errorf("connect to containerd at %s: %w", e.cfg.Address, err)
		return
	}
	found.ContainerdErr = e.connect(ctx)
	found.Containerd = e.info.Containerd
	if found.ContainerdErr != nil {
		return
	}
	var loaded []*introspection.Plugin
	found.ContainerdErr = e.calls.Do(ctx, e.cfg.PauseTimeout, call.Op{Verb: "list", Object: "plugins"}, func(ctx context.Context) error {
		answer, err := e.client.IntrospectionService().Plugins(ctx)
		loaded = answer.GetPlugins()
		return err
	})
	for _, name := range needed {
		if err := isLoaded(loaded, name); err != nil {
			found.Plugins = append(found.Plugins, err.Error())
		}
	}
	found.Snapshotter = isLoaded(loaded, snapshotterType+"/"+e.cfg.Snapshotter)
	found.ShimName, found.Shim = e.findShim(ctx)
	found.Headroom, found.HeadroomErr = e.Headroom(ctx)
}

func isLoaded(loaded []*introspection.Plugin, name string) error {
	kind, id, _ := strings.Cut(name, "/")
	at := slices.IndexFunc(loaded, func(p *introspection.Plugin) bool { return p.GetType() == kind && p.GetID() == id })
	if at < 0 {
		return fmt.Errorf("%s is not there", name)
	}
	if fault := loaded[at].GetInitErr(); fault != nil {
		return fmt.Errorf("%s was not loaded: %s", name, fault.GetMessage())
	}
	return nil
}

func (e *Engine) findShim(ctx context.Context) (string, error) {
	pid, err := resource.ContainerdPID(ctx, e.cfg.Address)
	name, missing := runsc.FindShim(e.cfg.Shim, pid)
	return name, cmp.Or(err, missing)
}

// removeNamespace removes the namespace of the trials, which nothing is left in.
func (e *Engine) removeNamespace(ctx context.Context) error {
	return e.calls.Do(ctx, e.cfg.KillTimeout, call.Op{Verb: "remove", Object: "the namespace of the trials"}, func(ctx context.Context) error {
		return ignoreNotFound(e.client.NamespaceService().Delete(ctx, e.cfg.Namespace))
	})
}
