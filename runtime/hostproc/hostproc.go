// Package hostproc finds, holds and ends the processes of the host that serve sandboxes, and measures what the host has left.
package hostproc

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/procfs"
)

// A Role is what a process of the host does for a sandbox. All of them have the sandbox's id as an argument, which no other program
// has.
type Role string

// The roles of a sandbox's processes.
const (
	Sentry  Role = "sentry"  // the sandbox's kernel runs in it
	Gofer   Role = "gofer"   // through it the sandbox reaches files of the host
	Shim    Role = "shim"    // containerd's process for the one sandbox
	Cleanup Role = "cleanup" // by which containerd tidies up behind a shim
	Command Role = "command" // of runsc, such as one that waits
)

// Working are the roles of all that keeps a sandbox going.
var Working = []Role{Sentry, Gofer, Shim, Command}

// clockTick is the unit of processor time in /proc, which Linux shows as the same on every machine.
const clockTick = 10 * time.Millisecond

// Process is a process of the host as /proc shows it.
type Process struct {
	PID     int
	parent  int
	started uint64 // in clock ticks since boot; with the pid it names one process for ever
	ticks   uint   // of the processor that it used
	args    []string
}

// Table is all processes of the host at one moment.
type Table []Process

// lists counts the tables that were read, for tests: on a large host each costs as much as an exec.
var lists atomic.Int64

// Lists returns how many tables were read.
func Lists() int64 { return lists.Load() }

// List reads the table. Processes that have ended are left out, zombies too.
func List() (Table, error) {
	lists.Add(1)
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	table := make(Table, 0, len(all))
	for _, one := range all {
		if p, ok := read(one); ok {
			table = append(table, p)
		}
	}
	return table, nil
}

// proc is the host's /proc, which is looked for once.
var proc = sync.OnceValues(procfs.NewDefaultFS)

// Look looks at one process; false if it has ended.
func Look(pid int) (Process, bool) {
	fs, err := proc()
	if err != nil {
		return Process{}, false
	}
	one, err := fs.Proc(pid)
	if err != nil {
		return Process{}, false
	}
	return read(one)
}

// read reads one process; false if it has ended.
func read(proc procfs.Proc) (Process, bool) {
	stat, err := proc.Stat()
	if err != nil || stat.State == "Z" {
		return Process{}, false
	}
	args, err := proc.CmdLine()
	if err != nil {
		return Process{}, false
	}
	return Process{PID: stat.PID, parent: stat.PPID, started: stat.Starttime, ticks: stat.UTime + stat.STime, args: args}, true
}

// Serving returns the processes of these roles, or of all if none is named, that serve the sandbox id, and their descendants: a
// sentry's stubs, and what a wrapper of runsc started.
func (t Table) Serving(id string, roles ...Role) Table {
	owners := map[int]string{}
	for _, p := range t {
		if p.Serves(id) && (len(roles) == 0 || slices.Contains(roles, p.Role())) {
			owners[p.PID] = id
		}
	}
	t.inherit(owners)
	return slices.DeleteFunc(slices.Clone(t), func(p Process) bool { return owners[p.PID] == "" })
}

// inherit gives to the descendants of processes that serve a sandbox the same owner.
func (t Table) inherit(owners map[int]string) {
	for grown := true; grown; {
		grown = false
		for _, p := range t {
			if owner := owners[p.parent]; owner != "" && owners[p.PID] == "" {
				owners[p.PID], grown = owner, true
			}
		}
	}
}

// Find returns the process of a role that serves the sandbox id.
func (t Table) Find(id string, role Role) (Process, bool) {
	at := slices.IndexFunc(t, func(p Process) bool { return p.Serves(id) && p.Role() == role })
	if at < 0 {
		return Process{}, false
	}
	return t[at], true
}

// CPUTimes is that of all processes that there are, by one look at them.
func CPUTimes(ids ...string) (map[string]time.Duration, error) {
	all, err := List()
	return all.CPUTimes(ids...), err
}

// CPUTimes returns the processor time that the sentry of each sandbox and the sentry's descendants have used. A sandbox that has
// none is left out.
func (t Table) CPUTimes(ids ...string) map[string]time.Duration {
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	owners := map[int]string{}
	for _, p := range t {
		at := slices.IndexFunc(p.args, func(arg string) bool { return wanted[arg] })
		if at >= 0 && p.Role() == Sentry {
			owners[p.PID] = p.args[at]
		}
	}
	t.inherit(owners)
	used := map[string]time.Duration{}
	for _, p := range t {
		if owner := owners[p.PID]; owner != "" {
			used[owner] += time.Duration(p.ticks) * clockTick //nolint:gosec // a time that fits
		}
	}
	return used
}

// Serves tells whether it is a shim or a runsc that serves the sandbox id, by its command line. The program is the first word or,
// for a script, the second.
func (p Process) Serves(id string) bool {
	at := slices.Index(p.args, id)
	return at > 0 && slices.ContainsFunc(p.args[:min(2, at)], func(word string) bool {
		name := filepath.Base(word)
		return strings.Contains(name, "runsc") || strings.HasPrefix(name, "containerd-shim-")
	})
}

// Role is that of a process which serves a sandbox.
func (p Process) Role() Role {
	if len(p.args) == 0 {
		return Command
	}
	switch name := filepath.Base(p.args[0]); {
	case name == "runsc-sandbox":
		return Sentry
	case name == "runsc-gofer":
		return Gofer
	case slices.Contains(p.args, "delete"):
		return Cleanup
	case strings.Contains(name, "shim"):
		return Shim
	default:
		return Command
	}
}

// Parent looks at the process that this one is a child of; false if it has ended.
func (p Process) Parent() (Process, bool) { return Look(p.parent) }

// Is tells whether two looks saw the same process.
func (p Process) Is(other Process) bool { return p.PID == other.PID && p.started == other.started }

// Alive tells whether the sandbox id has a process of a role. It says yes when that cannot be found out.
func Alive(id string, role Role) bool {
	table, err := List()
	if err != nil {
		return true
	}
	_, found := table.Find(id, role)
	return found
}

// Kill sends SIGKILL to what serves the sandbox in these roles, or in all if none is named, and to its descendants, and waits until
// they are gone.
func Kill(ctx context.Context, id string, roles ...Role) error {
	table, err := List()
	if err != nil {
		return err
	}
	return table.Serving(id, roles...).Kill(ctx)
}

// Kill sends SIGKILL to each process, and waits until all are gone.
func (t Table) Kill(ctx context.Context) error {
	var errs []error
	for _, p := range t {
		file, err := p.Open()
		if err == nil && file != nil {
			err = p.kill(file)
			defer func() { _ = file.Close() }()
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, t.Await(ctx))...)
}

// Await waits until each process has ended.
func (t Table) Await(ctx context.Context) error {
	var errs []error
	for _, p := range t {
		errs = append(errs, p.Await(ctx))
	}
	return errors.Join(errs...)
}
