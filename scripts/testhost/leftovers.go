package testhost

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Leftovers names what is on the machine because of this host, one line each: processes, mounts, cgroups, network
// namespaces, sockets, FIFOs and files. While containerd runs, it and its files are not named, so an empty answer then says
// that nothing is left of any sandbox or daemon. After Close an empty answer says that nothing is left at all.
func (h *Host) Leftovers() []string {
	h.noteContainers()
	pid := h.Pid()
	var left []string
	for _, p := range processesOf(h.Dir) {
		if p.pid != pid {
			left = append(left, p.String())
		}
	}
	left = append(left, mounts("/proc/self/mountinfo", h.Dir)...)
	if pid != 0 {
		// The run folder's covers are the host's own.
		left = append(left, mounts(fmt.Sprintf("/proc/%d/mountinfo", pid), filepath.Join(h.Dir, "state"))...)
	}
	for _, dir := range cgroups(h.Namespace) {
		if isDeadCgroup(dir) && (h.ns == nil || filepath.Base(dir) != h.Namespace) {
			left = append(left, "cgroup "+dir)
		}
	}
	for _, path := range namedAfter(h.containerIDs()) {
		left = append(left, "file "+path)
	}
	return append(left, h.files()...)
}

// files returns what sandboxes leave in the host's folder, or the folder itself once the host is closed.
func (h *Host) files() []string {
	if h.ns == nil {
		if _, err := os.Lstat(h.Dir); h.Dir == "" || os.IsNotExist(err) {
			return nil
		}
		return []string{"folder " + h.Dir}
	}
	var left []string
	for _, pattern := range []string{"s/*", "runsc/*/*", "state/io.containerd.runtime.v2.task/*/*"} {
		paths, _ := filepath.Glob(filepath.Join(h.Dir, pattern))
		for _, path := range paths {
			if filepath.Base(path) != "null-netns" { // runsc keeps one for all sandboxes of a root folder
				left = append(left, "file "+path)
			}
		}
	}
	return left
}

// mounts returns the mount points in the table that lie in dir.
func mounts(table, dir string) []string {
	data, err := os.ReadFile(table)
	if err != nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			found = append(found, "mount "+fields[4])
		}
	}
	return found
}

// noteContainers remembers the containers that exist now, to know their traces when they are gone.
func (h *Host) noteContainers() {
	if h.Dir == "" {
		return
	}
	ids := containersIn(h.Dir)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		h.ids[id] = struct{}{}
	}
}

func (h *Host) containerIDs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.ids))
}
