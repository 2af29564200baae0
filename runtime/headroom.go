package runtime

import (
	"context"
	"fmt"

	"sandpool/runtime/call"
	"sandpool/runtime/hostproc"
)

// Headroom measures what the host has left.
func (e *Engine) Headroom(ctx context.Context) (hostproc.Headroom, error) {
	root, err := e.snapshotRoot(ctx)
	if err != nil {
		return hostproc.Headroom{}, err
	}
	return hostproc.MeasureHeadroom(root)
}

// freeDisk returns how many bytes the disk has left on which the snapshots are.
func (e *Engine) freeDisk(ctx context.Context) (uint64, error) {
	root, err := e.snapshotRoot(ctx)
	if err != nil {
		return 0, err
	}
	free, _, err := hostproc.Disk(root)
	return free, err
}

// snapshotRoot asks containerd once where its snapshotter keeps its files.
func (e *Engine) snapshotRoot(ctx context.Context) (string, error) {
	e.mu.Lock()
	root := e.snapshots
	e.mu.Unlock()
	if root != "" {
		return root, nil
	}
	err := e.calls.Do(ctx, e.cfg.PauseTimeout, call.Op{Verb: "find", Object: "the snapshotter's folder"}, func(ctx context.Context) error {
		plugins, err := e.client.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1,id=="+e.cfg.Snapshotter)
		if err != nil {
			return err
		}
		for _, p := range plugins.GetPlugins() {
			root = p.GetExports()["root"]
		}
		if root == "" {
			return fmt.Errorf("containerd's snapshotter %q names none", e.cfg.Snapshotter)
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.snapshots = root
	return root, err
}
