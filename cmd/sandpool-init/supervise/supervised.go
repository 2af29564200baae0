package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/procs"
	"sandpool/cmd/sandpool-init/users"
	"sandpool/cmd/sandpool-init/vfork"
	"sandpool/runtime/supervisor/protocol"
)

// leftoverTime is how long the end of a process's output is waited for once it has ended: children may still have it.
const leftoverTime = 2 * time.Second

// timedOutCode is the exit code of a process that was killed at the end of its time, as timeout has it.
const timedOutCode = 124

// supervised is a process that process 1 started for the daemon, as the leader of a session. Its fields from ended on are its ring's to guard.
type supervised struct {
	pid     int
	user    string // a number
	command protocol.Command
	started time.Time
	out     *ring
	timeout *time.Timer // nil: none

	key   sync.Mutex // held by a key that waits for input
	input sync.Mutex // held while stdin is written to
	stdin *os.File   // nil: none
	fresh bool       // no line of a terminal has been begun

	ended    bool
	timedOut bool
	code     int
	stopped  time.Time
}

// files are what a process gets as its first ones, and process 1's ends of them.
type files struct {
	given []int // the last one also as those that follow it
	stdin *os.File
	reads map[byte]*os.File // by stream
}

// open makes what a command reads and writes.
func (f *files) open(c protocol.Command) error {
	if c.TTY {
		return f.openTerminal(c.Rows, c.Cols)
	}
	var err error
	if c.Input {
		f.stdin, err = f.pipe(1)
	} else {
		err = f.give(unix.Open(os.DevNull, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)) // root may have put a pipe there
	}
	if err != nil {
		return err
	}
	f.reads = map[byte]*os.File{}
	for _, stream := range []byte{protocol.Stdout, protocol.Stderr} {
		if f.reads[stream], err = f.pipe(0); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) give(fd int, err error) error {
	if err == nil {
		f.given = append(f.given, fd)
	}
	return err
}

// pipe makes a pipe of which process 1 has the end for reading, 0, or for writing, 1. os.Pipe would take twice as many system calls, most of them for
// the other end.
func (f *files) pipe(end int) (*os.File, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	_, err := unix.FcntlInt(uintptr(ends[end]), unix.F_SETFL, end|unix.O_NONBLOCK) // 0 and 1 are O_RDONLY and O_WRONLY, too
	if err != nil {
		_, _ = unix.Close(ends[0]), unix.Close(ends[1])
		return nil, err
	}
	return os.NewFile(uintptr(ends[end]), "pipe"), f.give(ends[1-end], nil)
}

// Control does something with a file's descriptor, which stays as it is.
func Control(file *os.File, do func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// closeGiven closes what the process has now.
func (f *files) closeGiven() {
	for _, fd := range f.given {
		_ = unix.Close(fd)
	}
	f.given = nil
}

func (f *files) close() {
	f.closeGiven()
	if f.stdin != nil {
		_ = f.stdin.Close()
	}
	for _, r := range f.reads {
		_ = r.Close()
	}
}

// spawnFor starts a command as the leader of a session.
func spawnFor(c protocol.Command) (*supervised, *files, error) {
	program := vfork.Program{Folder: c.Folder, Terminal: c.TTY}
	own, home := strconv.Itoa(os.Getuid()), os.Getenv("HOME")
	if c.User != "" {
		user, err := users.Find(c.User)
		if err == nil {
			program.Credential, err = user.Credential()
		}
		if err != nil {
			return nil, nil, &protocol.Failure{Reason: protocol.Refused, Text: err.Error()}
		}
		home = user.Home
		own = strconv.FormatUint(uint64(program.Credential.Uid), 10)
	}
	c.Env = withHome(c.Env, home)
	path, err := Find(c.Args[0], c.Env, c.Folder)
	if err != nil {
		return nil, nil, cannotStart(c, err)
	}
	program.Env = c.Env
	if program.Path, program.Args, err = limited(c, path); err != nil {
		return nil, nil, err
	}
	var f files
	err = f.open(c)
	if err == nil && c.TTY && program.Credential != nil {
		err = unix.Fchown(f.given[0], int(program.Credential.Uid), -1) // so that it can be opened by its name
	}
	if err != nil {
		f.close()
		return nil, nil, fmt.Errorf("make its pipes: %w", err)
	}
	for i := range program.Files {
		program.Files[i] = f.given[min(i, len(f.given)-1)]
	}
	pid, err := program.Start()
	if err != nil {
		f.close()
		return nil, nil, cannotStart(c, err)
	}
	f.closeGiven()
	return &supervised{pid: pid, user: own, command: c, started: time.Now(), out: newRing(), stdin: f.stdin, fresh: true}, &f, nil
}

// cannotStart tells a folder that is none from a program that is none.
func cannotStart(c protocol.Command, err error) error {
	var info unix.Stat_t
	switch folder := unix.Stat(c.Folder, &info); {
	case c.Folder == "":
	case folder != nil:
		return &protocol.Failure{Reason: protocol.Refused, Text: fmt.Sprintf("folder %s: %v", c.Folder, folder)}
	case info.Mode&unix.S_IFMT != unix.S_IFDIR:
		return &protocol.Failure{Reason: protocol.Refused, Text: fmt.Sprintf("folder %s: it is no folder", c.Folder)}
	}
	return &protocol.Failure{Reason: protocol.Refused, Code: procs.NotRun(err), Text: fmt.Sprintf("run %s: %v", c.Args[0], err)}
}

// pump keeps what the process and its children write.
func (p *supervised) pump(from byte, r *os.File) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			p.out.add(from, buf[:n])
		}
		if err != nil {
			break // a terminal that nobody has open any more says EIO
		}
	}
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.out.writers--
	p.overLocked(p.ended && p.out.writers == 0)
	if from != protocol.Terminal {
		_ = r.Close()
	}
}

func (p *supervised) overLocked(over bool) {
	p.out.over = p.out.over || over
	p.out.changed.Broadcast()
}

// end notes how the process ended, and tells whether nobody will ask: it was started for a client who has left.
func (p *supervised) end(status unix.WaitStatus) (unasked bool) {
	if p.timeout != nil {
		p.timeout.Stop()
	}
	switch {
	case p.command.TTY:
		p.hangUp()
	case p.stdin != nil:
		_ = p.stdin.Close() // nobody reads it, or a child that is not fed
	}
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.ended, p.stopped, p.code = true, time.Now(), procs.ExitCode(status)
	if p.timedOut {
		p.code = timedOutCode
	}
	p.overLocked(p.out.writers == 0)
	if !p.out.over { // else there is nothing to wake process 1 for
		time.AfterFunc(leftoverTime, func() {
			p.out.mu.Lock()
			defer p.out.mu.Unlock()
			p.overLocked(true)
		})
	}
	return p.command.Follow && p.out.held == released
}

// expire kills the process at the end of its time.
func (p *supervised) expire() {
	p.out.mu.Lock()
	ended := p.ended
	p.timedOut = !ended
	p.out.mu.Unlock()
	if !ended {
		_ = procs.KillSession(p.pid)
	}
}

// feed writes input, of which none is its end. It returns when the process has taken it, or the pipe has.
func (p *supervised) feed(data []byte) error {
	if p.stdin == nil {
		return &protocol.Failure{Reason: protocol.Refused, Text: "the process was started without input"}
	}
	if !p.input.TryLock() {
		if data = p.overtake(data); len(data) == 0 {
			return untaken()
		}
	}
	defer p.input.Unlock()
	var err error
	switch {
	case len(data) > 0:
		p.fresh = data[len(data)-1] == '\n'
		err = p.write(data)
	case !p.command.TTY:
		err = p.stdin.Close()
	case p.fresh:
		_, err = io.WriteString(p.stdin, "\x04")
	default:
		_, err = io.WriteString(p.stdin, "\x04\x04") // the first ends the line
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return untaken()
	}
	if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EIO) {
		return &protocol.Failure{Reason: protocol.NotFound, Text: "the process has closed its input, or has ended"}
	}
	return err
}

func untaken() error {
	return &protocol.Failure{Reason: protocol.NoRoom, Text: "the process has not taken its earlier input yet"}
}

// signal signals the process's group, or the foreground group of its terminal; or the process alone, if the signal is none for groups.
func (p *supervised) signal(number syscall.Signal) error {
	p.out.mu.Lock()
	ended := p.ended
	p.out.mu.Unlock()
	switch {
	case ended:
		return unix.ESRCH
	case !protocol.ToGroup(number):
		return unix.Kill(p.pid, number)
	case p.command.TTY:
		return unix.Kill(-p.foreground(), number)
	default:
		return unix.Kill(-p.pid, number)
	}
}
