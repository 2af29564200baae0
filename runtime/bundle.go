package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"

	"golang.org/x/sys/unix"
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
	all, err := allProcesses()
	if err != nil {
		return err
	}
	shim, found := find(all, id, isShim)
	if !found {
		return fmt.Errorf("find bundle: sandbox %s has no shim", id)
	}
	proc := fmt.Sprintf("/proc/%d", shim.pid)
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
	found, err := e.bundleTraces(rootOf(pid), id)
	if err != nil || len(found) == 0 {
		return err
	}
	rootfs := filepath.Join(e.bundles.state, id, "rootfs")
	if err := unmountIn(pid, rootfs); err != nil {
		return fmt.Errorf("unmount %s: %w", rootfs, err)
	}
	// Not with all that is in it: were it still mounted, those would be the sandbox's files.
	if err := os.Remove(filepath.Join(rootOf(pid), rootfs)); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
	peer, err := peerOf(ctx, e.cfg.Address)
	if err != nil {
		return 0, fmt.Errorf("find containerd's process: %w", err)
	}
	return peer.pid, nil
}

// rootOf is the root folder that a process sees; containerd may have a mount namespace of its own.
func rootOf(pid int) string { return fmt.Sprintf("/proc/%d/root", pid) }

// unmountIn detaches all that is mounted on path in the mount namespace of a process. That nothing is there is no error.
func unmountIn(pid int, path string) error {
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread() // for good: the thread ends with the goroutine, and nobody else gets its namespace
		err := enterMounts(pid)
		for err == nil {
			err = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // no mount, or no such folder
			err = nil
		}
		done <- err
	}()
	return <-done
}

// enterMounts puts the calling thread into the mount namespace of a process.
func enterMounts(pid int) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // what shares its working folder may not change namespaces
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return nil
}
