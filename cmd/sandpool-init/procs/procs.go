// Package procs looks at the processes of a sandbox, and ends them.
package procs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/runtime/supervisor/protocol"
)

// Exit codes, as shells have them.
const (
	NotRunnable = 126
	NotFound    = 127
	Signalled   = 128 // plus the signal's number
)

// ticks is how many of the kernel's units of time are a second.
const ticks = 100

// maxShownArgs is how much of a command's arguments a list of processes shows, in bytes.
const maxShownArgs = 4 << 10

// LookAt adds what the kernel says of a process, which may have ended.
func LookAt(p protocol.Process, boot time.Time) (protocol.Process, bool) {
	dir := "/proc/" + strconv.Itoa(p.PID)
	stat, err := read(dir + "/stat")
	if err != nil {
		return p, false
	}
	const state, user, system, start, memory = 0, 11, 12, 19, 21 // behind the name
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= memory {
		return p, false
	}
	p.State = fields[state]
	p.CPU = (ofTicks(fields[user]) + ofTicks(fields[system]))
	pages, _ := strconv.ParseInt(fields[memory], 10, 64)
	p.Memory = max(pages, 0) * int64(os.Getpagesize())
	if p.Started.IsZero() {
		p.Started = boot.Add(ofTicks(fields[start]))
	}
	if status, err := StatusOf(strconv.Itoa(p.PID)); err == nil {
		p.User, _, _ = strings.Cut(status["Uid"], "\t")
	}
	if len(p.Args) == 0 {
		if line, err := read(dir + "/cmdline"); err == nil && len(line) > 0 {
			p.Args = strings.Split(string(bytes.TrimSuffix(line, []byte{0})), "\x00")
		}
	}
	return p, true
}

// read reads a file of /proc, which is there whole at the first read that has room for it. os.ReadFile makes twice as many calls, and each
// costs a sandbox's process 1 time while a client waits.
func read(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	data := make([]byte, 0, 4<<10)
	for {
		room := data[len(data):cap(data)]
		n, err := unix.Read(fd, room)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		data = data[:len(data)+n]
		if n < len(room) {
			return data, nil
		}
		data = slices.Grow(data, len(data))
	}
}

func ofTicks(field string) time.Duration {
	n, _ := strconv.ParseInt(field, 10, 64)
	return time.Duration(max(n, 0)) * (time.Second / ticks)
}

// BootTime is when the sandbox's kernel began to count.
func BootTime() time.Time {
	data, err := read("/proc/uptime")
	if err != nil {
		return time.Now()
	}
	first, _, _ := strings.Cut(string(data), " ")
	up, _ := strconv.ParseFloat(first, 64)
	return time.Now().Add(-time.Duration(up * float64(time.Second)))
}

// Numbers are the numbers of all processes, in no order.
func Numbers() (numbers []int, err error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			numbers = append(numbers, pid)
		}
	}
	return numbers, err
}

// Shown cuts arguments to what a list has room for.
func Shown(args []string) []string {
	var list []string
	for room := maxShownArgs; len(args) > 0 && room > 0; args = args[1:] {
		list = append(list, args[0][:min(len(args[0]), room)])
		room -= len(args[0])
	}
	return list
}

// KillSession looks again until nothing is left: a process may start another one while the rest is killed.
func KillSession(leader int) error {
	for {
		members, err := MembersOf(leader)
		if err != nil || len(members) == 0 {
			return err
		}
		for _, pid := range members {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
}

// MembersOf returns the processes of a session that have not ended.
func MembersOf(session int) ([]int, error) {
	numbers, err := Numbers()
	if err != nil {
		return nil, err
	}
	var members []int
	for _, pid := range numbers {
		if pid == os.Getpid() {
			continue
		}
		stat, err := read("/proc/" + strconv.Itoa(pid) + "/stat")
		if err == nil && SessionOf(stat) == session {
			members = append(members, pid)
		}
	}
	return members, nil
}

// SessionOf returns the session of a process from its stat, 0 for one that has ended. Its name, in brackets, may hold anything.
func SessionOf(stat []byte) int {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const state, session = 0, 3
	if len(fields) <= session || bytes.ContainsAny(fields[state], "ZX") {
		return 0
	}
	id, err := strconv.Atoi(string(fields[session]))
	if err != nil {
		return 0
	}
	return id
}

// Status is what /proc tells about a process, by name.
type Status map[string]string

// StatusOf reads that of a process, by number or as "self".
func StatusOf(pid string) (Status, error) {
	data, err := read("/proc/" + pid + "/status")
	if err != nil {
		return nil, fmt.Errorf("look at process %s: %w", pid, err)
	}
	s := Status{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		s[name] = strings.TrimSpace(value)
	}
	return s, nil
}

// Is tells whether each of the ids under the name, which are the real, the effective and so on, is id.
func (s Status) Is(name string, id uint32) bool {
	want := strconv.FormatUint(uint64(id), 10)
	ids := strings.Fields(s[name])
	return len(ids) > 0 && !slices.ContainsFunc(ids, func(have string) bool { return have != want })
}

// Differs returns the first of the names under which the two differ, or "".
func (s Status) Differs(other Status, names ...string) string {
	for _, name := range names {
		if s[name] != other[name] {
			return name
		}
	}
	return ""
}

// Groups are the groups beside the process's own.
func (s Status) Groups() []uint32 {
	var groups []uint32
	for field := range strings.FieldsSeq(s["Groups"]) {
		if id, err := strconv.ParseUint(field, 10, 32); err == nil {
			groups = append(groups, uint32(id))
		}
	}
	return groups
}

// NotRun returns the exit code that says why a command could not be run.
func NotRun(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return NotFound
	}
	return NotRunnable
}

// ExitCode is how a process ended, as shells say it.
func ExitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return Signalled + int(status.Signal())
	}
	return status.ExitStatus()
}
