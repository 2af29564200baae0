package testhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	settleTime = 3 * time.Second
)

// removeCgroups removes the namespace's cgroups. One where something still lives after settleTime is another's: our own
// processes are killed, and their last helpers, which nothing tells apart from others', end by themselves.
func removeCgroups(ctx context.Context, namespace string) error {
	if namespace == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	// A cgroup stays busy until its processes are not only dead but reaped.
	err := poll(ctx, func() bool {
		for _, dir := range cgroups(namespace) {
			_ = unix.Rmdir(dir)
		}
		return len(cgroups(namespace)) == 0
	})
	if left := slices.DeleteFunc(cgroups(namespace), func(dir string) bool { return !isDeadCgroup(dir) }); len(left) > 0 {
		return fmt.Errorf("remove cgroups %v: %w", left, err)
	}
	return nil
}

// cgroups returns the namespace's folders in every hierarchy, the deepest first.
func cgroups(namespace string) []string {
	var dirs []string
	roots, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", namespace))
	for _, root := range append(roots, filepath.Join(cgroupRoot, namespace)) {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	slices.Sort(dirs)
	slices.Reverse(dirs)
	return dirs
}

// isDeadCgroup reports whether dir exists, and neither it nor a cgroup below it holds a process that still runs.
func isDeadCgroup(dir string) bool {
	dead := true
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "cgroup.procs" {
			dead = dead && !holdsLiving(path)
		}
		return nil
	})
	_, err := os.Stat(dir)
	return dead && err == nil
}

// holdsLiving reports whether a process of the list has arguments; those that end have lost them.
func holdsLiving(list string) bool {
	data, _ := os.ReadFile(list)
	for word := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			continue
		}
		if p, ok := readProc(pid); ok && p.argv != "" {
			return true
		}
	}
	return false
}
