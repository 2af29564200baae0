package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"sandpool/runtime/supervisor/protocol"
)

// ticks is how many of the kernel's units of time are a second.
const ticks = 100

// maxShownArgs is how much of a command's arguments a list of processes shows, in bytes.
const maxShownArgs = 4 << 10

// lookAt adds what the kernel says of a process, which may have ended.
func lookAt(p protocol.Process, boot time.Time) (protocol.Process, bool) {
	dir := "/proc/" + strconv.Itoa(p.PID)
	stat, err := os.ReadFile(dir + "/stat")
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
	if status, err := statusOf(strconv.Itoa(p.PID)); err == nil {
		p.User, _, _ = strings.Cut(status["Uid"], "\t")
	}
	if len(p.Args) == 0 {
		if line, err := os.ReadFile(dir + "/cmdline"); err == nil && len(line) > 0 {
			p.Args = strings.Split(string(bytes.TrimSuffix(line, []byte{0})), "\x00")
		}
	}
	return p, true
}

func ofTicks(field string) time.Duration {
	n, _ := strconv.ParseInt(field, 10, 64)
	return time.Duration(max(n, 0)) * (time.Second / ticks)
}

// bootTime is when the sandbox's kernel began to count.
func bootTime() time.Time {
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Now()
	}
	first, _, _ := strings.Cut(string(data), " ")
	up, _ := strconv.ParseFloat(first, 64)
	return time.Now().Add(-time.Duration(up * float64(time.Second)))
}

// processNumbers are the numbers of all processes, in no order.
func processNumbers() (numbers []int, err error) {
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

// shown cuts arguments to what a list has room for.
func shown(args []string) []string {
	var list []string
	for room := maxShownArgs; len(args) > 0 && room > 0; args = args[1:] {
		list = append(list, args[0][:min(len(args[0]), room)])
		room -= len(args[0])
	}
	return list
}
