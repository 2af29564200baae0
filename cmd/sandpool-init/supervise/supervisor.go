// Package supervise is the part of process 1 that starts processes for the daemon, keeps what they write and tells of it.
package supervise

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/procs"
	"sandpool/runtime/supervisor/protocol"
)

// keptEnded is how many processes that have ended are still known, with their output.
const keptEnded = 64

// maxKept is how much of an environment is kept in all, in bytes.
const maxKept = 1 << 20

// Supervisor has the processes that process 1 starts for the daemon. They live on when the daemon or the connection to it does not.
type Supervisor struct {
	mu     sync.Mutex // held while a process is started, so that none ends before it is known
	ending bool
	known  map[int]*supervised
	gone   []*supervised // of those, the ones that have ended, the oldest first
	kept   []string      // what claims brought along, as KEY=VALUE
	kill   func(pid int, signal syscall.Signal) error
	end    func(leader int) error // kills a session
	link   *link                  // the present connection, or nil
}

// New makes one that has started nothing.
func New() *Supervisor {
	return &Supervisor{known: map[int]*supervised{}, kill: unix.Kill, end: procs.KillSession}
}

// start starts a process.
func (s *Supervisor) start(c protocol.Command) (*supervised, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return nil, &protocol.Failure{Reason: protocol.Refused, Text: "the sandbox ends"}
	}
	p, f, err := spawnFor(c)
	if err != nil {
		return nil, err
	}
	if earlier := s.known[p.pid]; earlier != nil {
		s.forgetLocked(earlier) // its number is another's now
	}
	s.known[p.pid] = p
	if c.Follow {
		p.out.held = 0
	}
	p.out.writers = len(f.reads)
	for from, r := range f.reads {
		go p.pump(from, r)
	}
	if c.Timeout > 0 {
		p.timeout = time.AfterFunc(c.Timeout, p.expire)
	}
	return p, nil
}

// Reaped is told of each child that has ended.
func (s *Supervisor) Reaped(pid int, status unix.WaitStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.known[pid]
	if p == nil || slices.Contains(s.gone, p) {
		return
	}
	if p.end(status) {
		s.forgetLocked(p)
		return
	}
	s.gone = append(s.gone, p)
	if len(s.gone) > keptEnded {
		s.forgetLocked(s.gone[0])
	}
}

func (s *Supervisor) forgetLocked(p *supervised) {
	s.gone = slices.DeleteFunc(s.gone, func(g *supervised) bool { return g == p })
	if s.known[p.pid] == p {
		delete(s.known, p.pid)
	}
	if p.command.TTY {
		_ = p.stdin.Close()
	}
}

// leave ends a process that was started for a client which follows it no more, or forgets it if it has ended.
func (s *Supervisor) leave(p *supervised, ended bool) {
	if !ended {
		_ = s.end(p.pid) // it may end by itself meanwhile
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(p)
}

// Stop returns when the last process has been started.
func (s *Supervisor) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
}

// find returns a process that was started for the daemon.
func (s *Supervisor) find(pid int64) (*supervised, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.known[int(pid)]
	if p == nil {
		return nil, noProcess(pid)
	}
	return p, nil
}

func noProcess(pid int64) error {
	return &protocol.Failure{Reason: protocol.NotFound, Text: fmt.Sprintf("no process %d: it was not started for the daemon, or ended long ago", pid)}
}

// list returns all processes of the sandbox but this one, by their numbers, those that have ended too.
func (s *Supervisor) list() ([]protocol.Process, error) {
	numbers, err := procs.Numbers()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	all := make(map[int]*supervised, len(s.known))
	for pid, p := range s.known {
		all[pid] = p
		numbers = append(numbers, pid)
	}
	s.mu.Unlock()
	slices.Sort(numbers)
	boot := procs.BootTime()
	var list []protocol.Process
	for _, pid := range slices.Compact(numbers) {
		if p := all[pid]; p != nil {
			list = append(list, p.inspect())
		} else if other, there := procs.LookAt(protocol.Process{PID: pid}, boot); there && pid != 1 {
			other.Args = procs.Shown(other.Args)
			list = append(list, other)
		}
	}
	return list, nil
}

// signal signals a process, or the group of one that was started for the daemon.
func (s *Supervisor) signal(pid, number int64) error {
	if number < 1 || number > 64 || pid < 2 {
		return &protocol.Failure{Reason: protocol.Refused, Text: fmt.Sprintf("signal %d to process %d", number, pid)}
	}
	p, err := s.find(pid)
	switch {
	case err != nil:
		err = s.kill(int(pid), syscall.Signal(number))
	case number == int64(unix.SIGKILL):
		err = s.end(p.pid)
	default:
		err = p.signal(syscall.Signal(number))
	}
	if errors.Is(err, unix.ESRCH) {
		return &protocol.Failure{Reason: protocol.NotFound, Text: fmt.Sprintf("process %d has ended", pid)}
	}
	return err
}

// describe says what is known of the process.
func (p *supervised) describe() protocol.Process {
	p.out.mu.Lock()
	d := protocol.Process{
		PID: p.pid, User: p.user, Supervised: true, TTY: p.command.TTY, Input: p.stdin != nil, Ended: p.ended, Code: p.code, TimedOut: p.timedOut, Started: p.started,
		Stopped: p.stopped, First: p.out.firstLocked(), Next: p.out.next, Args: procs.Shown(p.command.Args),
	}
	p.out.mu.Unlock()
	return d
}

// inspect adds what the kernel knows of it.
func (p *supervised) inspect() protocol.Process {
	d := p.describe()
	if !d.Ended {
		d, _ = procs.LookAt(d, p.started)
	}
	return d
}

// keep adds to what processes that are started for the daemon get in their environment.
func (s *Supervisor) keep(words []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	all := append(append([]string(nil), s.kept...), words...)
	for _, w := range all {
		size += len(w)
	}
	if size > maxKept {
		return &protocol.Failure{Reason: protocol.NoRoom, Text: fmt.Sprintf("claims brought along %d bytes for the environment: the limit is %d", size, maxKept)}
	}
	s.kept = all
	return nil
}
