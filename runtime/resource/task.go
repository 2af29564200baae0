package resource

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"

	"sandpool/runtime/hostproc"
)

// cgroupRoot is where the host's cgroups are mounted: one hierarchy, or a folder for each.
const cgroupRoot = "/sys/fs/cgroup"

// cgroups are made by runsc. A namespace's folder of cgroups has its name, so daemons with a containerd of their own each may share
// it: a cgroup does not show whose sandbox it is of. A sandbox's files outlive them.
func (s *Set) cgroups() kind {
	return kind{name: "cgroups", remove: func(_ context.Context, id string) error {
		found, err := Cgroups(s.cfg.Namespace, id)
		return errors.Join(err, removeAll(found))
	}}
}

// Cgroups returns those of a sandbox in a namespace, or without an id the namespace's folders of them. It looks at their names
// only: a namespace's folder lists all of its sandboxes.
func Cgroups(namespace, id string) ([]string, error) { return cgroupsIn(cgroupRoot, namespace, id) }

func cgroupsIn(root, namespace, id string) (found []string, _ error) {
	dirs, err := hierarchies(root)
	if err != nil {
		return nil, fmt.Errorf("list cgroups: %w", err)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, namespace, id)
		if _, err := os.Lstat(path); err == nil {
			found = append(found, path)
		}
	}
	return found, nil
}

// hierarchies returns where cgroups are: in the one hierarchy of version 2, or in one or more of version 1.
func hierarchies(root string) (dirs []string, _ error) {
	if _, err := os.Lstat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	for _, entry := range entries {
		dirs = append(dirs, filepath.Join(root, entry.Name()))
	}
	return dirs, err
}

// runscFiles are runsc's notes on a sandbox, with their lock, and the sentry's socket.
func (s *Set) runscFiles() kind {
	return kind{
		name: "runsc's files",
		remove: func(_ context.Context, id string) error {
			return removeMatches(s.cfg.RunscDir, id+"_sandbox:*", "runsc-"+id+".sock")
		},
		owners: func(context.Context) ([]string, error) { return idsIn(s.cfg.RunscDir) },
	}
}

// bundles is where containerd keeps the bundles of its tasks, and what belongs to each, as containerd sees the paths. It does not
// tell them.
type bundles struct {
	mu          sync.Mutex
	state, work string
}

func (b *bundles) get() (state, work string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.work
}

// LearnBundles finds containerd's folders by a sandbox that runs: a shim works in its bundle.
func (s *Set) LearnBundles(id string) error {
	if state, _ := s.bundles.get(); state != "" {
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
	cwd := fmt.Sprintf("/proc/%d/cwd", shim.PID)
	bundle, err := os.Readlink(cwd)
	work, workErr := os.Readlink(filepath.Join(cwd, "work"))
	if err := errors.Join(err, workErr); err != nil {
		return fmt.Errorf("find bundle: %w", err)
	}
	s.bundles.mu.Lock()
	defer s.bundles.mu.Unlock()
	s.bundles.state, s.bundles.work = filepath.Dir(bundle), filepath.Dir(work)
	return nil
}

// bundle is what containerd keeps of a task, and its shim's socket. containerd forgets a bundle whose `runsc delete` failed until
// it is started again, and does not look for the socket of a shim that was killed.
func (s *Set) bundle() kind {
	return kind{name: "bundle", remove: s.removeBundle, owners: s.bundleOwners}
}

func (s *Set) removeBundle(ctx context.Context, id string) error {
	pid, err := s.server.pid(ctx, s.cfg.Address)
	if err != nil {
		return err
	}
	root := hostproc.Root(pid)
	// The path is that of SocketAddress in containerd's pkg/shim. Its hash does not show whose it is.
	socket := sha256.Sum256([]byte(filepath.Join(s.cfg.Address, s.cfg.Namespace, id)))
	if err := removeAll([]string{fmt.Sprintf("%s/run/containerd/s/%x", root, socket)}); err != nil {
		return fmt.Errorf("remove the shim's socket: %w", err)
	}
	state, work := s.bundles.get()
	if state == "" {
		return nil
	}
	var found []string
	for _, dir := range []string{state, work} { // containerd puts a dot before the name of one that it is removing
		paths, err := matches(filepath.Join(root, dir), id, "."+id)
		if err != nil {
			return err
		}
		found = append(found, paths...)
	}
	if len(found) == 0 {
		return nil
	}
	rootfs := filepath.Join(state, id, "rootfs")
	if err := hostproc.Unmount(pid, rootfs); err != nil {
		return fmt.Errorf("unmount %s: %w", rootfs, err)
	}
	// Not with all that is in it: were it still mounted, those would be the sandbox's files.
	if err := os.Remove(filepath.Join(root, rootfs)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs []error
	for _, path := range found {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// bundleOwners goes by the folders: containerd itself asks each task's shim, which starts processes to answer. It is asked only
// by who has learnt of no folders, which no daemon is that serves.
func (s *Set) bundleOwners(ctx context.Context) (ids []string, _ error) {
	state, work := s.bundles.get()
	if state == "" {
		tasks, err := s.cfg.Client.TaskService().List(ctx, &tasksapi.ListTasksRequest{})
		for _, t := range tasks.GetTasks() {
			ids = appendID(ids, t.GetID())
		}
		return ids, err
	}
	pid, err := s.server.pid(ctx, s.cfg.Address)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{state, work} {
		found, err := idsIn(filepath.Join(hostproc.Root(pid), dir))
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	return ids, nil
}

// server is the process that was seen to serve containerd's socket.
type server struct {
	mu   sync.Mutex
	last hostproc.Process
}

// pid returns it. containerd is asked again only when that process has ended.
func (s *server) pid(ctx context.Context, address string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.Alive() {
		return s.last.PID, nil
	}
	pid, err := ContainerdPID(ctx, address)
	if err == nil {
		s.last, _ = hostproc.Look(pid)
	}
	return pid, err
}

// ContainerdPID returns the process that serves containerd's socket.
func ContainerdPID(ctx context.Context, address string) (int, error) {
	peer, err := hostproc.PeerOf(ctx, address)
	if err != nil {
		return 0, fmt.Errorf("find containerd's process: %w", err)
	}
	return peer.PID, nil
}
