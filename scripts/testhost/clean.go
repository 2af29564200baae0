package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	dirPrefix     = "sph-"      // of hosts' folders
	lockFile      = "lock"      // in a host's folder: locked while its owner lives
	namespaceFile = "namespace" // in a host's folder: what a later Start must know to clean up
)

// makeDir makes the host's folder and takes its lock. On the way it removes stale hosts.
func (h *Host) makeDir(ctx context.Context) error {
	base, err := baseDir()
	if err != nil {
		return err
	}
	// The lock on the base makes folder and lock one step for other hosts.
	lock, err := lockPath(base, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer closeFile(lock)
	if err := sweep(ctx, base); err != nil {
		return err
	}
	if h.Dir, err = os.MkdirTemp(base, dirPrefix); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(h.Dir, namespaceFile), []byte(h.Namespace), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(h.Dir, lockFile), nil, 0o600); err != nil {
		return err
	}
	h.lock, err = lockPath(filepath.Join(h.Dir, lockFile), unix.LOCK_EX|unix.LOCK_NB)
	return err
}

// baseDir returns a folder for hosts' folders: one that overlayfs can lie on, so not itself an overlay.
func baseDir() (string, error) {
	candidates := []string{os.TempDir(), "/var/tmp", "/dev/shm"}
	for _, dir := range candidates {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err == nil && fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find a folder outside overlayfs: tried %v; set TMPDIR to one", candidates)
}

func lockPath(path string, how int) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		closeFile(f)
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// sweep removes the hosts in base whose owners ended without closing them.
func sweep(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	dirs, err := filepath.Glob(filepath.Join(base, dirPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if !isRoots(dir) {
			continue // anyone may make folders here
		}
		errs = append(errs, sweepOne(ctx, dir))
	}
	return errors.Join(errs...)
}

func sweepOne(ctx context.Context, dir string) error {
	lock, err := lockPath(filepath.Join(dir, lockFile), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // its owner lives
	}
	defer closeFile(lock) // none if its owner died before it made the file
	namespace, err := os.ReadFile(filepath.Join(dir, namespaceFile))
	if err != nil || !validNamespace.Match(namespace) {
		namespace = nil // its owner died before it started anything
	}
	return remove(ctx, dir, string(namespace), containersIn(dir))
}

func isRoots(path string) bool {
	var stat unix.Stat_t
	return unix.Lstat(path, &stat) == nil && stat.Uid == 0 && stat.Mode&unix.S_IFMT == unix.S_IFDIR
}

// remove kills and deletes all that belongs to the host in dir. The lock on it must be held.
func remove(ctx context.Context, dir, namespace string, ids []string) error {
	if err := killAll(ctx, dir); err != nil {
		return err
	}
	errs := []error{removeCgroups(ctx, namespace)}
	for _, path := range namedAfter(ids) {
		_ = unix.Unmount(path, unix.MNT_DETACH) // of network namespaces, which are mounts
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}

// containersIn returns the ids of the containers that containerd keeps a bundle for.
func containersIn(dir string) []string {
	var ids []string
	for _, folder := range []string{"state", "root"} {
		bundles, _ := filepath.Glob(filepath.Join(dir, folder, "io.containerd.runtime.v2.task", "*", "*"))
		for _, bundle := range bundles {
			ids = append(ids, filepath.Base(bundle))
		}
	}
	return ids
}

// namedAfter returns the FIFO folders and network namespaces that are named after containers. Clients make them in
// folders that they share with others, so their names are all that tells whose they are.
func namedAfter(ids []string) []string {
	var found []string
	for _, pattern := range []string{"/run/netns/*", "/var/run/netns/*", runFolder + "/fifo/*/*"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if !slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(filepath.Base(path), id) }) {
				continue
			}
			if strings.HasPrefix(path, runFolder) {
				path = filepath.Dir(path)
			}
			found = append(found, path)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
