package hostproc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
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

// MeasureHeadroom measures what the host has left, as disk that of the file system that dir is on.
func MeasureHeadroom(dir string) (h Headroom, err error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return Headroom{}, err
	}
	if h.Memory, h.TotalMemory, err = memory(fs); err != nil {
		return Headroom{}, err
	}
	if h.PIDs, err = availablePIDs(fs); err != nil {
		return Headroom{}, fmt.Errorf("count processes: %w", err)
	}
	if h.Files, err = availableFiles(fs); err != nil {
		return Headroom{}, fmt.Errorf("count open files: %w", err)
	}
	h.Disk, h.TotalDisk, err = Disk(dir)
	return h, err
}

// Disk returns the bytes that are free, and those that there are, of the file system that dir is on.
func Disk(dir string) (free, total uint64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure free disk at %s: %w", dir, err)
	}
	block := uint64(fs.Bsize) //nolint:gosec // a block size is positive
	return fs.Bavail * block, fs.Blocks * block, nil
}

func memory(fs procfs.FS) (available, total uint64, err error) {
	info, err := fs.Meminfo()
	if err != nil {
		return 0, 0, fmt.Errorf("measure memory: %w", err)
	}
	if info.MemAvailableBytes == nil || info.MemTotalBytes == nil {
		return 0, 0, errors.New("measure memory: /proc/meminfo lacks MemAvailable or MemTotal")
	}
	return *info.MemAvailableBytes, *info.MemTotalBytes, nil
}

// availablePIDs is the kernel's limit less the tasks that exist.
func availablePIDs(fs procfs.FS) (uint64, error) {
	limit, err := sysctl(fs, "kernel.pid_max", 1)
	if err != nil {
		return 0, err
	}
	load, err := os.ReadFile("/proc/loadavg") // 0.10 0.08 0.01 1/234 5678: running and existing tasks; procfs leaves them out
	if err != nil {
		return 0, err
	}
	_, behind, _ := strings.Cut(string(load), "/")
	existing, _, _ := strings.Cut(behind, " ")
	used, err := strconv.ParseUint(existing, 10, 64)
	return limit[0] - min(used, limit[0]), err
}

// availableFiles is the kernel's limit less the files that are open.
func availableFiles(fs procfs.FS) (uint64, error) {
	n, err := sysctl(fs, "fs.file-nr", 3) // open, 0, limit
	if err != nil {
		return 0, err
	}
	return n[2] - min(n[0], n[2]), nil
}

// sysctl reads the numbers of one of the kernel's settings, of which there must be so many.
func sysctl(fs procfs.FS, name string, count int) ([]uint64, error) {
	fields, err := fs.SysctlStrings(name)
	if err != nil {
		return nil, err
	}
	if len(fields) < count {
		return nil, fmt.Errorf("read %s: %d numbers, want %d", name, len(fields), count)
	}
	numbers := make([]uint64, count)
	for i := range numbers {
		if numbers[i], err = strconv.ParseUint(fields[i], 10, 64); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return numbers, nil
}
