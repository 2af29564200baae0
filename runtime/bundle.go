package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sandpool/runtime/hostproc"
)

// bundles is where containerd keeps the bundles of its tasks, and what belongs to each, as containerd sees the paths. It
// does not tell them, and it forgets a bundle whose `runsc delete` failed until it is started again.
type bundles struct {
	state, work string
}

// learnBundles finds containerd's folders by a sandbox that runs: a shim works in its bundle.
func (e *Engine) learnBundles(id string) error {
	if e.bundles != (bundles{}) {
		return nil
	}
	all, err := hostproc.List()
	if err != nil {
		return err
	}
	shim, found := all.Find(id, hostproc.Shim)
	if !found {
		return fmt.Errorf("find bundle: sandbox %s has no shim", id)
	}
	proc := fmt.Sprintf("/proc/%d", shim.PID)
	bundle, err := os.Readlink(proc + "/cwd")
	if err != nil {
		return fmt.Errorf("find bundle: %w", err)
	}
	work, err := os.Readlink(filepath.Join(proc, "cwd", "work"))
	if err != nil {
		return fmt.Errorf("find bundle: %w", err)
	}
	e.bundles = bundles{state: filepath.Dir(bundle), work: filepath.Dir(work)}
	return nil
}

// bundleTraces returns the bundles of the sandboxes that pattern matches, under the root that containerd sees. containerd
// puts a dot before the name of one that it is removing.
func (e *Engine) bundleTraces(root, pattern string) ([]string, error) {
	if e.bundles == (bundles{}) {
		return nil, nil
	}
	var all []string
	for _, dir := range []string{e.bundles.state, e.bundles.work} {
		for _, name := range []string{pattern, "." + pattern} {
			found, err := filepath.Glob(filepath.Join(root, dir, name))
			if err != nil {
				return nil, fmt.Errorf("list bundles: %w", err)
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

// removeBundle removes what containerd forgot of a sandbox whose processes have all ended.
func (e *Engine) removeBundle(ctx context.Context, id string) error {
	pid, err := e.containerdPID(ctx)
	if err != nil {
		return err
	}
	found, err := e.bundleTraces(hostproc.Root(pid), id)
	if err != nil || len(found) == 0 {
		return err
	}
	rootfs := filepath.Join(e.bundles.state, id, "rootfs")
	if err := hostproc.Unmount(pid, rootfs); err != nil {
		return fmt.Errorf("unmount %s: %w", rootfs, err)
	}
	// Not with all that is in it: were it still mounted, those would be the sandbox's files.
	if err := os.Remove(filepath.Join(hostproc.Root(pid), rootfs)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove bundle: %w", err)
	}
	var errs []error
	for _, path := range found {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// containerdPID returns the process that serves containerd's socket.
func (e *Engine) containerdPID(ctx context.Context) (int, error) {
	peer, err := hostproc.PeerOf(ctx, e.cfg.Address)
	if err != nil {
		return 0, fmt.Errorf("find containerd's process: %w", err)
	}
	return peer.PID, nil
}
