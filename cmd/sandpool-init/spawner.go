package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"sandpool/cmd/sandpool-init/procs"

	"golang.org/x/sys/unix"
)

const (
	spawnTimeout = 10 * time.Second // for a caller to send its request
	maxSpawns    = 16               // how many callers are served at once
)

// spawner starts processes for others in the sandbox as children of process 1, each with the rights of who asked for it.
type spawner struct {
	mu     sync.Mutex // held while a process is started
	ending bool
}

// serveSpawns listens and serves. A sandbox without it is better than none, so that it cannot is only reported.
func serveSpawns() *spawner {
	s := &spawner{}
	fd, err := listenAt(spawnSocket, maxSpawns)
	if err != nil {
		_ = fail(0, "sandpool-init: processes cannot be spawned: listen on %s: %v", spawnSocket, err)
		return s
	}
	go s.serve(fd)
	return s
}

// stop returns when the last process has been started.
func (s *spawner) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
}

func (s *spawner) serve(listener int) {
	slots := make(chan struct{}, maxSpawns)
	for {
		slots <- struct{}{}
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil {
			if !errors.Is(err, unix.EINTR) {
				time.Sleep(endInterval) // it may be short of files
			}
			<-slots
			continue
		}
		go func() {
			defer func() { <-slots }()
			s.answer(fd)
		}()
	}
}

// answer serves one caller.
func (s *spawner) answer(fd int) {
	conn := os.NewFile(uintptr(fd), spawnSocket)
	defer func() { _ = conn.Close() }()
	limit := unix.NsecToTimeval(spawnTimeout.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	pid, err := s.spawn(fd, conn)
	reply := []string{"0", strconv.Itoa(pid)}
	if err != nil {
		reply = []string{strconv.Itoa(procs.NotRun(err)), err.Error()}
	}
	message, err := encode(reply)
	if err == nil {
		_, _ = conn.Write(message) // the caller may have left
	}
}

func (s *spawner) spawn(fd int, conn *os.File) (int, error) {
	logs, _, err := receiveFiles(fd, 1)
	if err != nil {
		return 0, fmt.Errorf("receive the log: %w", err)
	}
	log := os.NewFile(uintptr(logs[0]), "log")
	defer func() { _ = log.Close() }()
	request, err := receive(conn)
	if err != nil {
		return 0, fmt.Errorf("receive the request: %w", err)
	}
	if len(request) < 3 {
		return 0, errors.New("receive the request: it is too short")
	}
	path, folder, words := request[0], request[1], request[3:]
	count, err := strconv.Atoi(request[2])
	if err != nil || count < 1 || count > len(words) {
		return 0, errors.New("receive the request: it has no arguments")
	}
	caller, err := callerOf(fd)
	if err != nil {
		return 0, err
	}
	input, err := os.OpenFile(os.DevNull, os.O_RDONLY|unix.O_NONBLOCK, 0) // root may have put a pipe there
	if err != nil {
		return 0, err
	}
	defer func() { _ = input.Close() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return 0, errors.New("the sandbox ends")
	}
	return syscall.ForkExec(path, words[:count:count], &syscall.ProcAttr{
		Dir:   folder,
		Env:   words[count:],
		Files: []uintptr{input.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Credential: caller},
	})
}

// callerOf returns the user and groups that a process started for the caller must have, nil when they are those of process 1,
// or an error when it could have rights that the caller lacks.
func callerOf(fd int) (*syscall.Credential, error) {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("ask who calls: %w", err)
	}
	if peer.Pid <= 1 { // 0 is outside the sandbox, and old releases of gVisor tell who asks instead
		return nil, errors.New("the kernel does not tell who calls")
	}
	caller, err := procs.StatusOf(strconv.Itoa(int(peer.Pid)))
	if err != nil {
		return nil, err
	}
	own, err := procs.StatusOf("self")
	if err != nil {
		return nil, err
	}
	// Another process may have got the number, or the caller may have become another user since.
	if !caller.Is("Uid", peer.Uid) || !caller.Is("Gid", peer.Gid) {
		return nil, errors.New("the caller has more than one user or group")
	}
	same := []string{"CapBnd", "NoNewPrivs", "Seccomp"}
	sameUser := caller.Differs(own, "Uid", "Gid", "Groups") == ""
	if sameUser {
		same = append(same, "CapPrm")
	}
	if name := caller.Differs(own, same...); name != "" {
		return nil, fmt.Errorf("the caller's %s is %q, not that of process 1, %q", name, caller[name], own[name])
	}
	if sameUser {
		return nil, nil //nolint:nilnil // no change, which a process 1 without capabilities can make as well
	}
	if os.Geteuid() != 0 { // the kernel would let capabilities pass from it to another user
		return nil, errors.New("process 1 is not root: it starts processes for its own user only")
	}
	return &syscall.Credential{Uid: peer.Uid, Gid: peer.Gid, Groups: caller.Groups()}, nil
}
