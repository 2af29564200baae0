package template

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/hostpath"
	"sandpool/runtime/rootfs"
)

// Mount is what a sandbox sees at Target: a folder or file of the host, or with Size an empty file system in its memory.
type Mount struct {
	Source   string // absolute path on the host
	Target   string // absolute path in the sandbox
	ReadOnly bool   // of a Source
	Size     int64  // bytes; there is no Source then
}

const (
	// temporary is where gVisor mounts a file system in memory by itself, of half of the host's memory, if the image has
	// nothing there.
	temporary = "/tmp"
	// sharedMemory is where programs make what they share, such as browsers.
	sharedMemory = "/dev/shm"
)

// noFileSystem is a type of mounts that gVisor does not know and passes over. One on /tmp keeps it from mounting a file system of
// its own there, over the one that is where the image's /tmp leads.
const noFileSystem = "sandpool.none"

// gvisorTargets are the mounts that gVisor knows by their place: there it follows the links of an image itself.
var gvisorTargets = []string{"/proc", "/sys", "/dev"}

func (m Mount) spec() specs.Mount {
	if m.Size > 0 {
		options := []string{"nosuid", "nodev", "mode=1777", sizeOption(m.Size)}
		return specs.Mount{Destination: filepath.Clean(m.Target), Type: "tmpfs", Source: "tmpfs", Options: options}
	}
	access := "rw"
	if m.ReadOnly {
		access = "ro"
	}
	return specs.Mount{Destination: filepath.Clean(m.Target), Type: "bind", Source: m.Source, Options: []string{"rbind", access}}
}

// checkSource looks again at what the configuration was checked for: a source may have come later, or be another now.
func (m Mount) checkSource() error {
	if m.Size > 0 {
		return nil
	}
	if _, err := os.Stat(m.Source); err != nil {
		return fmt.Errorf("%w: mend the template's mount or make its source", err)
	}
	if m.ReadOnly {
		return hostpath.CheckAbove(m.Source)
	}
	return hostpath.CheckWritable(m.Source)
}

func sizeOption(bytes int64) string { return "size=" + strconv.FormatInt(bytes, 10) }

// setMounts puts the template's mounts and the init among those that a spec has by default, in place of what is there.
func (t Template) setMounts(s *specs.Spec, files *rootfs.Files, init string) error {
	boundSharedMemory(s.Mounts, t.Limits.Memory)
	mounts := append(s.Mounts, specs.Mount{Destination: InitPath, Type: "bind", Source: init, Options: []string{"rbind", "ro"}})
	mounts = append(mounts, t.temporaryMount(files)...)
	for _, m := range t.Mounts {
		if err := m.checkSource(); err != nil {
			return fmt.Errorf("mount on %s: %w", m.Target, err)
		}
		mounts = append(mounts, m.spec())
	}
	placed, err := place(mounts, files)
	s.Mounts = placed
	return err
}

// boundSharedMemory makes /dev/shm half of the sandbox's memory, or as large as gVisor likes when that has no limit: the usual
// 64 MiB are too few for browsers.
func boundSharedMemory(mounts []specs.Mount, memory int64) {
	for i, m := range mounts {
		if m.Destination != sharedMemory {
			continue
		}
		m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return strings.HasPrefix(o, "size=") })
		if memory > 0 {
			m.Options = append(m.Options, sizeOption(memory/2))
		}
		mounts[i] = m
	}
}

// temporaryMount bounds the file system that gVisor would mount on /tmp, to half of the sandbox's memory: being killed for
// what one wrote there is worse than being refused.
func (t Template) temporaryMount(files *rootfs.Files) []specs.Mount {
	there := func(m Mount) bool { return within(filepath.Clean(m.Target), temporary) }
	folder, _, err := files.Resolve(temporary)
	if err != nil || slices.ContainsFunc(t.Mounts, there) || !files.IsEmpty(folder) {
		return nil
	}
	m := specs.Mount{Destination: temporary, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}}
	switch {
	case t.Limits.Memory > 0:
		m.Options = append(m.Options, sizeOption(t.Limits.Memory/2))
	case folder == temporary: // gVisor does the same
		return nil
	}
	return []specs.Mount{m}
}

// place moves mounts to where the links of the image lead: gVisor makes no folder at the end of a link. Of two that come to be
// on the same place the later one stays.
func place(mounts []specs.Mount, files *rootfs.Files) ([]specs.Mount, error) {
	var order []int
	for i := range mounts {
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(mounts[a].Destination, mounts[b].Destination) })
	moved := map[string]string{} // destinations, as they were and as they are
	last := map[string]int{}
	for _, i := range order { // a parent before what is in it
		was := mounts[i].Destination
		if _, done := moved[was]; !done {
			to, err := destination(mounts[i], moved, files)
			if err != nil {
				return nil, fmt.Errorf("mount on %s: %w: mend the image or the template's mount", was, err)
			}
			moved[was] = to
		}
		last[moved[was]] = max(i, last[moved[was]])
	}
	var placed []specs.Mount
	for i, m := range mounts {
		if m.Destination = moved[m.Destination]; last[m.Destination] == i {
			placed = append(placed, m)
		}
	}
	if to, ok := moved[temporary]; ok && to != temporary {
		placed = append(placed, specs.Mount{Destination: temporary, Type: noFileSystem})
	}
	slices.SortStableFunc(placed, func(a, b specs.Mount) int { return strings.Compare(a.Destination, b.Destination) })
	return placed, nil
}

// destination returns where a mount is when what is in moved is mounted already.
func destination(m specs.Mount, moved map[string]string, files *rootfs.Files) (string, error) {
	for parent := path.Dir(m.Destination); parent != "/"; parent = path.Dir(parent) {
		if to, ok := moved[parent]; ok { // what the image has there is not seen
			return to + strings.TrimPrefix(m.Destination, parent), nil
		}
	}
	to, info, err := files.Resolve(m.Destination)
	if err != nil {
		return "", err
	}
	folder, err := isFolder(m)
	switch {
	case err != nil:
		return "", err
	case info != nil && info.IsDir() != folder:
		return "", fmt.Errorf("%s in the image is not of the kind that is mounted there", to)
	case to == m.Destination:
		return to, nil
	case info == nil && slices.Contains(gvisorTargets, m.Destination):
		return "", fmt.Errorf("in the image it is a link to %s, which is not there", to)
	case slices.Contains(gvisorTargets, m.Destination):
		return m.Destination, nil
	case to == "/" || slices.ContainsFunc(gvisorTargets, func(own string) bool { return within(to, own) }):
		return "", fmt.Errorf("in the image it is a link to %s, where nothing can be mounted", to)
	}
	return to, nil
}

// isFolder tells whether what is mounted is a folder and not a file.
func isFolder(m specs.Mount) (bool, error) {
	if m.Type != "bind" {
		return true, nil
	}
	info, err := os.Stat(m.Source)
	return err == nil && info.IsDir(), err
}

// within tells whether a clean absolute path is another one or lies in it.
func within(inner, outer string) bool { return inner == outer || strings.HasPrefix(inner, outer+"/") }
