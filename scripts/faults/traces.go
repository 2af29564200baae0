package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/runtime/resource"
)

// sandboxID is what every trace of a sandbox carries. Its 80 random bits tell the sandboxes of other hosts apart.
var sandboxID = regexp.MustCompile(`sb-[a-z2-7]{16}`)

// leftovers compares containerd and the machine with what the API lists and names all that is too much or too little.
func (r *rig) leftovers(ctx context.Context) []string {
	claims, err := r.client.List(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	pools, err := r.client.Pools(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	containers, err := r.ids(ctx, "containers", "ls", "-q")
	if err != nil {
		return []string{err.Error()}
	}
	left := counts(len(containers), claims, pools)
	for _, c := range claims {
		if !containers[c.Sandbox] {
			left = append(left, "no container of claim "+c.ID)
		}
	}
	owned, err := r.owned(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	for id, kinds := range owned {
		for _, kind := range kinds {
			if !containers[id] {
				left = append(left, kind+" "+id)
			}
		}
	}
	for id, places := range r.traces() {
		if !containers[id] {
			left = append(left, places...)
		}
	}
	return append(left, r.strays(len(containers))...)
}

// owned returns the kinds of things that there are of each sandbox, from the list by which the daemon makes and removes them. What the
// list lacks is found by traces.
func (r *rig) owned(ctx context.Context) (map[string][]string, error) {
	c, err := containerd.New(r.host.Address, containerd.WithDefaultNamespace(r.host.Namespace))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	defer func() { _ = c.Close() }()
	return resource.New(resource.Config{
		Client: c, Address: r.host.Address, Namespace: r.host.Namespace, Snapshotter: configs.Default().Containerd.Snapshotter,
		RunscDir: filepath.Join(r.state, "runsc", r.host.Namespace), FilesDir: filepath.Join(r.state, "shim"),
	}).Owners(ctx)
}

// counts compares the number of containers with what the daemon counts.
func counts(containers int, claims []wire.Claim, pools []wire.Pool) []string {
	known := len(claims)
	for _, p := range pools {
		known += p.Available
	}
	if containers == known {
		return nil
	}
	return []string{fmt.Sprintf("%d containers; the daemon counts %d", containers, known)}
}

// ids returns the sandboxes that ctr lists.
func (r *rig) ids(ctx context.Context, args ...string) (map[string]bool, error) {
	out, err := r.ctr(ctx, args...)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, id := range sandboxID.FindAllString(out, -1) {
		ids[id] = true
	}
	return ids, nil
}

// traces returns all that carries a sandbox's id: processes, mounts, cgroups and files, by id.
func (r *rig) traces() map[string][]string {
	found := map[string][]string{}
	note := func(what, text string) {
		for _, id := range sandboxID.FindAllString(text, -1) {
			found[id] = append(found[id], what+" "+text)
		}
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), r.host.Dir) {
			note("process", strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", r.host.Pid())) // containerd down: no mounts to see
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			note("mount", fields[4])
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/" + r.host.Namespace + "/*", "/sys/fs/cgroup/" + r.host.Namespace + "/*", "/run/netns/*"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			note("folder", path)
		}
	}
	for _, path := range r.files() {
		note("file", path)
	}
	return r.own(found)
}

// own drops network namespaces of other hosts, which lie in one folder with ours: they have no other trace here.
func (r *rig) own(found map[string][]string) map[string][]string {
	maps.DeleteFunc(found, func(_ string, places []string) bool {
		return !slices.ContainsFunc(places, func(p string) bool { return !strings.Contains(p, "/run/netns/") })
	})
	return found
}

// files lists the host's folder but for the contents of images and sandboxes.
func (r *rig) files() []string {
	var paths []string
	_ = filepath.WalkDir(r.host.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it went away meanwhile
		}
		paths = append(paths, path)
		if name := d.Name(); d.IsDir() && (name == "rootfs" || name == "io.containerd.content.v1.content" || strings.HasPrefix(name, "io.containerd.snapshotter.")) {
			return fs.SkipDir
		}
		return nil
	})
	return paths
}

// strays names what carries no id: sockets of shims beyond those of the containers, and pipes of commands, and
// checkpoints, of which none is wanted any more.
func (r *rig) strays(containers int) []string {
	var left []string
	sockets, _ := filepath.Glob(filepath.Join(r.host.Dir, "s", "*"))
	if len(sockets) > containers {
		left = append(left, fmt.Sprintf("%d sockets of shims for %d containers", len(sockets), containers))
	}
	unfinished, _ := filepath.Glob(filepath.Join(r.checkpoints(), "*"))
	for _, path := range unfinished {
		left = append(left, "file "+path)
	}
	pipes, _ := filepath.Glob(filepath.Join(r.state, "fifo", "*"))
	promises, _ := filepath.Glob(filepath.Join(r.state, "shim", "*.promised")) // nothing is being handed out
	for _, path := range slices.Concat(pipes, promises) {
		left = append(left, "file "+path)
	}
	return left
}
