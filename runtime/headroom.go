package runtime

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Headroom is what the host has left for more sandboxes, and how much it has of what sandboxes are promised.
type Headroom struct {
	Memory uint64 // bytes, MemAvailable
	Disk   uint64 // bytes, of the file system that holds the snapshots
	PIDs   uint64 // processes and threads
	Files  uint64 // open files

	TotalMemory, TotalDisk uint64 // bytes
}

// Headroom measures what the host has left.
func (e *Engine) Headroom(ctx context.Context) (h Headroom, err error) {
	if h.Memory, h.TotalMemory, err = memory(); err != nil {
		return Headroom{}, err
	}
	if h.PIDs, err = availablePIDs(); err != nil {
		return Headroom{}, err
	}
	if h.Files, err = availableFiles(); err != nil {
		return Headroom{}, err
	}
	root, err := e.snapshotRoot(ctx)
	if err != nil {
		return Headroom{}, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return Headroom{}, fmt.Errorf("measure free disk at %s: %w", root, err)
	}
	h.Disk, h.TotalDisk = fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize) //nolint:gosec // a block size is positive
	return h, nil
}

// snapshotRoot asks containerd once where its snapshotter keeps its files.
func (e *Engine) snapshotRoot(ctx context.Context) (string, error) {
	e.mu.Lock()
	root := e.snapshots
	e.mu.Unlock()
	if root != "" {
		return root, nil
	}
	err := e.call(ctx, e.cfg.PauseTimeout, "find the snapshotter's folder", func(ctx context.Context) error {
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

func memory() (available, total uint64, err error) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, fmt.Errorf("measure memory: %w", err)
	}
	found := map[string]uint64{}
	for line := range strings.Lines(string(info)) {
		name, value, _ := strings.Cut(line, ":")
		if fields := strings.Fields(value); len(fields) == 2 {
			found[name], _ = strconv.ParseUint(fields[0], 10, 64) // what is no number is missing
		}
	}
	available, total = found["MemAvailable"]<<10, found["MemTotal"]<<10
	if available == 0 || total == 0 {
		return 0, 0, fmt.Errorf("measure memory: /proc/meminfo lacks MemAvailable or MemTotal")
	}
	return available, total, nil
}

// availablePIDs is the kernel's limit less the tasks that exist.
func availablePIDs() (uint64, error) {
	limits, err := numbers("/proc/sys/kernel/pid_max")
	if err != nil {
		return 0, err
	}
	load, err := os.ReadFile("/proc/loadavg") // 0.10 0.08 0.01 1/234 5678: running and existing tasks
	if err != nil {
		return 0, fmt.Errorf("count processes: %w", err)
	}
	fields := strings.Fields(string(load))
	_, existing, _ := strings.Cut(fields[3], "/")
	used, err := strconv.ParseUint(existing, 10, 64)
	return limits[0] - min(used, limits[0]), err
}

// availableFiles is the kernel's limit less the files that are open.
func availableFiles() (uint64, error) {
	n, err := numbers("/proc/sys/fs/file-nr") // open, 0, limit
	if err != nil || len(n) < 3 {
		return 0, fmt.Errorf("count open files: %w", err)
	}
	return n[2] - min(n[0], n[2]), nil
}

// numbers reads a file of numbers.
func numbers(path string) ([]uint64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for field := range strings.FieldsSeq(string(data)) {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read %s: it is empty", path)
	}
	return all, nil
}
