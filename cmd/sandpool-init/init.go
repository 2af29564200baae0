package main

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"sandpool/cmd/sandpool-init/door"
	"sandpool/cmd/sandpool-init/procs"
	"sandpool/cmd/sandpool-init/supervise"

	"golang.org/x/sys/unix"
)

// endInterval is the time between two looks at whether all have ended.
const endInterval = 10 * time.Millisecond

// unforwarded signals are for the init alone: its children's ends, what its own runtime uses (SIGURG), and what the
// kernel sends it for its own use of pipes and terminals.
var unforwarded = []os.Signal{unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU}

// initProcess is what process 1 listens to.
type initProcess struct {
	children <-chan os.Signal // SIGCHLD; one slot will do, as reap takes all that ended
	signals  <-chan os.Signal // all others
	spawner  *spawner

	supervisor *supervise.Supervisor
	door       *door.Door
}

func listen() initProcess {
	children, signals := make(chan os.Signal, 1), make(chan os.Signal, 64)
	signal.Notify(children, unix.SIGCHLD)
	signal.Notify(signals)
	children <- unix.SIGCHLD // for those that ended before
	return initProcess{children: children, signals: signals, supervisor: supervise.New(), door: door.New(door.Options{DNS: 53, Proxy: 3128, Log: complain})}
}

// complain says what goes wrong while the init goes on.
func complain(format string, args ...any) { _ = fail(0, format, args...) }

// wait reaps until SIGTERM or SIGINT comes, then ends every process and returns the exit code when the last has ended.
func (p initProcess) wait() int {
	p.servePlugs()
	p.spawner = serveSpawns()
	for {
		select {
		case <-p.children:
			p.reap(0)
		case sig := <-p.signals:
			if asksToEnd(sig) {
				p.endAll()
				return exitSignal + int(sig.(syscall.Signal))
			}
		}
	}
}

func asksToEnd(sig os.Signal) bool { return sig == unix.SIGTERM || sig == unix.SIGINT }

// endAll sends SIGTERM to every process of the sandbox and waits for their ends, for ever: who asked for the end knows the
// deadline, and kills process 1 when it is over. Being asked once more kills them.
func (p initProcess) endAll() {
	p.spawner.stop()
	p.supervisor.Stop()
	_ = unix.Kill(-1, unix.SIGTERM) // fails when there is none
	// The programs that were exec'd into the sandbox are nobody's children here: only asking tells when they end.
	tick := time.NewTicker(endInterval)
	defer tick.Stop()
	for {
		p.reap(0)
		if unix.Kill(-1, 0) != nil {
			return
		}
		select {
		case <-p.children:
		case <-tick.C:
		case sig := <-p.signals:
			if asksToEnd(sig) {
				_ = unix.Kill(-1, unix.SIGKILL)
			}
		}
	}
}

// lingerTime is how long the init stays when it could not run its command: an exit code is lost if the sandbox ends before
// gVisor's shim has begun to wait for it.
const lingerTime = 5 * time.Second

// supervise runs the command as its child, passes signals on to it, and returns its exit code. A command that ends by
// itself ends the sandbox, once those that watch out were told. After SIGTERM the command ends first, then all others do; being asked
// once more kills them.
func (p initProcess) supervise(args []string, out *lastOutput) int {
	child, code := start(args)
	if child == 0 {
		time.Sleep(lingerTime)
		return code
	}
	p.servePlugs()
	p.spawner = serveSpawns() // which tells `ready` that the command has begun
	for ending := false; ; {
		select {
		case <-p.children:
			status, ended := p.reap(child)
			switch {
			case ended && ending:
				p.endAll()
				return procs.ExitCode(status)
			case ended:
				out.tell()
				return procs.ExitCode(status)
			}
		case sig := <-p.signals:
			switch {
			case ending && asksToEnd(sig):
				_ = unix.Kill(-1, unix.SIGKILL)
			case !slices.Contains(unforwarded, sig):
				ending = ending || sig == unix.SIGTERM
				_ = unix.Kill(child, sig.(syscall.Signal)) // not reaped yet, so the number is still its own
			}
		}
	}
}

// start starts the command in a process group of its own, which gets the terminal if there is one. It returns the
// process id, or 0 and the exit code that says why it could not.
func start(args []string) (pid, code int) {
	path, err := find(args[0])
	if err == nil {
		attr := &syscall.SysProcAttr{Setpgid: true}
		if _, ttyErr := unix.IoctlGetInt(0, unix.TIOCGPGRP); ttyErr == nil { // input is the controlling terminal
			attr.Foreground, attr.Ctty = true, 0
		}
		pid, err = syscall.ForkExec(path, args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attr})
	}
	if err != nil {
		return 0, cannotRun(args[0], err)
	}
	return pid, 0
}

// cannotRun says why a command could not be run, and returns the exit code that says so too.
func cannotRun(command string, err error) int {
	return fail(procs.NotRun(err), "sandpool-init: run %s: %v", command, err)
}

// reap takes the status of every child that ended, and returns that of child if it is among them.
func (p initProcess) reap(child int) (status unix.WaitStatus, ended bool) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return status, ended
		}
		if pid == child {
			status, ended = ws, true
		} else {
			p.supervisor.Reaped(pid, ws)
		}
	}
}
