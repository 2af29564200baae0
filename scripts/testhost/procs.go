package testhost

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of processor time in /proc, which Linux shows as the same on every machine.
const clockTick = 10 * time.Millisecond

// proc is one process of the machine.
type proc struct {
	pid, parent int
	start       string        // clock ticks since boot: with the pid it names one process for ever
	argv        string        // words joined by spaces; empty for zombies and kernel threads
	used        time.Duration // of the processor, with that of children that were waited for
}

func (p proc) String() string { return fmt.Sprintf("process %d: %.200s", p.pid, p.argv) }

// processesOf returns the processes that belong to the host in dir: those whose arguments name it, as those of
// containerd, shims, sentries and gofers do, and their descendants. The caller and its ancestors are never among them.
func processesOf(dir string) []proc {
	if dir == "" {
		return nil // else every process would match
	}
	all := processes()
	spared := map[int]bool{}
	for pid := os.Getpid(); pid > 0 && !spared[pid]; pid = all[pid].parent {
		spared[pid] = true
	}
	var ours []proc
	for _, p := range all {
		if !spared[p.pid] && descends(all, p, dir) {
			ours = append(ours, p)
		}
	}
	slices.SortFunc(ours, func(a, b proc) int { return a.pid - b.pid })
	return ours
}

func descends(all map[int]proc, p proc, dir string) bool {
	for range len(all) {
		if names(p.argv, dir) {
			return true
		}
		parent, ok := all[p.parent]
		if !ok {
			return false
		}
		p = parent
	}
	return false
}

// names reports whether text holds the path dir, and not just the path of another whose name starts alike.
func names(text, dir string) bool {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, dir)
		if !found {
			return false
		}
		if after == "" || strings.ContainsRune("/ ,:=", rune(after[0])) {
			return true
		}
		rest = after
	}
}

func processes() map[int]proc {
	all := map[int]proc{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProc(pid); ok {
			all[pid] = p
		}
	}
	return all
}

func readProc(pid int) (proc, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, false
	}
	// Fields follow the name in brackets, which may itself hold spaces and brackets.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return proc{}, false
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	words := strings.ReplaceAll(strings.TrimRight(string(argv), "\x00"), "\x00", " ")
	var ticks int64
	for _, field := range fields[11:15] { // its own in user and system mode, and those of its children
		n, _ := strconv.ParseInt(string(field), 10, 64)
		ticks += n
	}
	return proc{pid: pid, parent: parent, start: string(fields[19]), argv: words, used: time.Duration(ticks) * clockTick}, true
}

// ProcessorTime returns how much processor time the host's processes have used, by the name of the program. That of processes that have
// ended is their parents'.
func (h *Host) ProcessorTime() map[string]time.Duration {
	used := map[string]time.Duration{}
	for _, p := range processesOf(h.Dir) {
		name, _, _ := strings.Cut(p.argv, " ")
		used[filepath.Base(name)] += p.used
	}
	return used
}

// killAll kills the processes of the host in dir until there are none.
func killAll(ctx context.Context, dir string) error {
	var left []proc
	err := poll(ctx, func() bool {
		left = processesOf(dir)
		for _, p := range left {
			kill(p)
		}
		return len(left) == 0
	})
	if err != nil {
		return fmt.Errorf("kill %v: %w", left, err)
	}
	return nil
}

// kill sends SIGKILL to p, and to no process that got its number since.
func kill(p proc) {
	handle, err := os.FindProcess(p.pid) // a pidfd: it stays with the process that has the number now
	if err != nil {
		return
	}
	defer func() { _ = handle.Release() }()
	if now, ok := readProc(p.pid); ok && now.start == p.start {
		_ = handle.Kill()
	}
}
