package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/runtime/tail"
)

const (
	// endSocket is where process 1 tells how its command ended. Whoever connects gets a byte, stillRuns or hasEnded, and after hasEnded the end of what
	// the command wrote.
	endSocket = "@sandpool-end"
	stillRuns = '+'
	hasEnded  = '-'

	maxOutput   = 4 << 10         // bytes of it that are kept
	maxWatchers = 16              // at once
	watcherTime = 1 * time.Second // for all watchers to take what is told
)

// lastOutput keeps the end of what the command writes, so that somebody can be told why it ended. Nil keeps nothing.
type lastOutput struct {
	pipe    *os.File
	drained chan struct{} // closed when keep has returned

	mu       sync.Mutex
	kept     []byte
	ended    bool
	watchers map[int]bool  // whether they were told
	came     chan struct{} // closed when the first watcher has come; nil from then on
}

// keepOutput gives this process, and so its command, an output that is kept, if it has none that somebody else reads.
func keepOutput() *lastOutput {
	var own unix.Stat_t
	_, notTerminal := unix.IoctlGetTermios(1, unix.TCGETS)
	if unix.Fstat(1, &own) != nil || own.Mode&unix.S_IFMT != unix.S_IFCHR || notTerminal == nil {
		return nil // gVisor hides the device's number, by which /dev/null would be known
	}
	listener, err := listenAt(endSocket, maxWatchers)
	if err != nil {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		_ = unix.Close(listener)
		return nil
	}
	_ = unix.Fchmod(int(w.Fd()), 0o622) // a command that became another user may open /dev/stdout still
	if unix.Dup3(int(w.Fd()), 1, 0) != nil || unix.Dup3(int(w.Fd()), 2, 0) != nil {
		return nil
	}
	_ = w.Close()
	o := &lastOutput{pipe: r, drained: make(chan struct{}), watchers: map[int]bool{}, came: make(chan struct{})}
	go o.keep()
	go o.serve(listener)
	return o
}

// listenAt listens on an abstract name.
func listenAt(name string, backlog int) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// keep reads all that is written until tell stops it, so that no writer ever waits for long.
func (o *lastOutput) keep() {
	defer close(o.drained)
	buf := make([]byte, 32<<10)
	for {
		n, err := o.pipe.Read(buf)
		o.add(buf[:n])
		if err != nil {
			return
		}
	}
}

func (o *lastOutput) add(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = tail.Append(o.kept, b, maxOutput)
}

// serve takes watchers. What the command wrote is for its own user and for root.
func (o *lastOutput) serve(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil {
			time.Sleep(endInterval) // it may be short of files
			continue
		}
		peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil || peer.Uid != 0 && int(peer.Uid) != os.Geteuid() || !o.join(fd) {
			_ = unix.Close(fd)
		}
	}
}

// join greets a watcher, and has it be told of the end.
func (o *lastOutput) join(fd int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forgetGone()
	if len(o.watchers) == maxWatchers {
		return false
	}
	if !o.ended {
		_, _ = unix.Write(fd, []byte{stillRuns})
	}
	o.watchers[fd] = false
	if o.came != nil {
		close(o.came)
		o.came = nil
	}
	return true
}

// forgetGone drops the watchers that have left.
func (o *lastOutput) forgetGone() {
	for fd := range o.watchers {
		var b [1]byte
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
		if n == 0 && err == nil || err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			_ = unix.Close(fd)
			delete(o.watchers, fd)
		}
	}
}

// tell has the watchers learn that the command ended, and by which words. Without any it waits for lingerTime, but only if there never was one:
// who has started the sandbox comes to look whether the command runs.
func (o *lastOutput) tell() {
	if o == nil {
		return
	}
	_ = o.pipe.SetReadDeadline(time.Now())
	<-o.drained
	o.drain()
	o.mu.Lock()
	o.ended = true
	came := o.came
	o.mu.Unlock()
	if came != nil {
		select {
		case <-came:
		case <-time.After(lingerTime):
		}
	}
	for began := time.Now(); time.Since(began) < watcherTime; time.Sleep(endInterval) {
		if o.toldAll() {
			return
		}
	}
}

// drain keeps what is in the pipe still, which is all that the command wrote.
func (o *lastOutput) drain() {
	raw, err := o.pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		buf := make([]byte, 64<<10)
		if n, err := unix.Read(int(fd), buf); err == nil {
			o.add(buf[:n])
		}
	})
}

// toldAll tells those who were not told yet, and says whether all of them have taken it.
func (o *lastOutput) toldAll() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for fd, told := range o.watchers {
		if !told {
			_, _ = unix.Write(fd, append([]byte{hasEnded}, o.kept...))
			_ = unix.Shutdown(fd, unix.SHUT_WR)
			o.watchers[fd] = true
		}
	}
	o.forgetGone()
	return len(o.watchers) == 0
}

// ended waits until the command of process 1 has ended and prints the end of what it wrote, after the bytes that process 1 says so by.
func ended(args []string) int {
	if len(args) > 0 {
		return fail(exitUsage, "usage: sandpool-init ended")
	}
	fd, err := dial(unix.AF_UNIX, &unix.SockaddrUnix{Name: endSocket})
	for began := time.Now(); err != nil; fd, err = dial(unix.AF_UNIX, &unix.SockaddrUnix{Name: endSocket}) {
		if time.Since(began) > lingerTime {
			return fail(exitFailure, "sandpool-init: connect to process 1: %v", err)
		}
		time.Sleep(connectInterval)
	}
	for state := [1]byte{}; state[0] != hasEnded; {
		n, err := unix.Read(fd, state[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			return fail(exitFailure, "sandpool-init: the end is not told: %v", err)
		}
		if _, err := os.Stdout.Write(state[:]); err != nil {
			return fail(exitFailure, "sandpool-init: %v", err)
		}
	}
	if err := carry(1, fd); err != nil {
		return fail(exitFailure, "sandpool-init: receive the output: %v", err)
	}
	return 0
}

// commandEnded prints the end of what the command of process 1 wrote if that has ended.
func commandEnded() bool {
	fd, err := dial(unix.AF_UNIX, &unix.SockaddrUnix{Name: endSocket})
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	var state [1]byte
	if n, err := unix.Read(fd, state[:]); n != 1 || err != nil || state[0] != hasEnded {
		return false
	}
	_ = carry(2, fd)
	return true
}
