package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is a process of the host as /proc shows it.
type process struct {
	pid, parent int
	started     string // in clock ticks since boot; with the pid it names one process for ever
	ticks       int64  // of the processor that it used
	args        []string
}

// A servant is one kind of the host processes that serve a sandbox. All of them carry its id, which no other
// program does, as an argument.
type servant func(args []string) bool

// everyServant is each process of a sandbox.
func everyServant([]string) bool { return true }

// anyServant leaves out the commands by which containerd tidies up behind a shim.
func anyServant(args []string) bool { return !slices.Contains(args, "delete") }

// isSentry is the process in which the sandbox's kernel runs.
func isSentry(args []string) bool { return filepath.Base(args[0]) == "runsc-sandbox" }

// isShim is containerd's servant for one sandbox.
func isShim(args []string) bool { return strings.Contains(filepath.Base(args[0]), "shim") }

// isGofer is the process through which the sandbox reaches files of the host.
func isGofer(args []string) bool { return filepath.Base(args[0]) == "runsc-gofer" }

// processes returns the processes of the kind that serve the sandbox id, and their descendants: a sentry's stubs, and
// what a wrapper of runsc started.
func processes(id string, kind servant) ([]process, error) {
	all, err := allProcesses()
	if err != nil {
		return nil, err
	}
	owners := map[int]string{}
	for _, p := range all {
		if serves(p.args, id) && kind(p.args) {
			owners[p.pid] = id
		}
	}
	inherit(all, owners)
	return slices.DeleteFunc(all, func(p process) bool { return owners[p.pid] == "" }), nil
}

// inherit gives to the descendants of processes that serve a sandbox the same owner.
func inherit(all []process, owners map[int]string) {
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if owner := owners[p.parent]; owner != "" && owners[p.pid] == "" {
				owners[p.pid], grown = owner, true
			}
		}
	}
}

// serves tells whether a command line is that of a shim or a runsc that serves the sandbox id. The program is the first
// word or, for a script, the second.
func serves(args []string, id string) bool {
	at := slices.Index(args, id)
	return at > 0 && slices.ContainsFunc(args[:min(2, at)], func(word string) bool {
		return strings.Contains(filepath.Base(word), "runsc")
	})
}

func allProcesses() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// readProcess reads one process; false if it has ended.
func readProcess(pid int) (process, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// After the name, which may hold anything, in brackets: state, parent, …, as the 12th and 13th the time used in user and
	// system mode, …, and as the 20th the start.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return process{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	user, userErr := strconv.ParseInt(fields[11], 10, 64)
	system, systemErr := strconv.ParseInt(fields[12], 10, 64)
	if errors.Join(err, userErr, systemErr) != nil {
		return process{}, false
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return process{}, false
	}
	args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	return process{pid: pid, parent: parent, started: fields[19], ticks: user + system, args: args}, true
}

// killProcesses sends SIGKILL to what serves the sandbox, and to its descendants, and waits until they are gone.
func killProcesses(ctx context.Context, id string, kind servant) error {
	found, err := processes(id, kind)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range found {
		errs = append(errs, p.kill())
	}
	for _, p := range found {
		errs = append(errs, p.await(ctx))
	}
	return errors.Join(errs...)
}

// kill goes through a pidfd, so that a process that got the pid meanwhile is never hit.
func (p process) kill() error {
	file, err := p.open()
	if err != nil || file == nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := unix.PidfdSendSignal(int(file.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	return nil
}

func (p process) alive() bool {
	now, ok := readProcess(p.pid)
	return ok && now.started == p.started
}
