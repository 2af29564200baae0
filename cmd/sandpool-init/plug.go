package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/supervise"
)

// plugSocket is the abstract unix socket by which process 1 gets the pipes to the daemon.
const plugSocket = "@sandpool-plug"

// What pipes are for, as the byte says that comes with them.
const (
	forSupervisor byte = iota
	forDoor
)

// plug hands its input and output to process 1, which talks to the daemon over them from then on: as the supervisor, or as the door. They are pipes: an open
// socket would keep a checkpoint from being restored. The daemon runs it as root.
func plug(args []string) int {
	use := forSupervisor
	if len(args) == 1 && args[0] == "door" {
		use = forDoor
	} else if len(args) > 0 {
		return fail(exitUsage, "usage: sandpool-init plug [door]")
	}
	conn, err := dialInit(plugSocket)
	if err != nil {
		return fail(exitFailure, "sandpool-init: ask process 1: %v", err)
	}
	defer func() { _ = conn.Close() }()
	err = supervise.Control(conn, func(fd int) error {
		return unix.Sendmsg(fd, []byte{use}, unix.UnixRights(0, 1), nil, unix.MSG_NOSIGNAL)
	})
	var taken [1]byte
	if err == nil {
		_, err = io.ReadFull(conn, taken[:])
	}
	if err != nil {
		return fail(exitFailure, "sandpool-init: process 1 did not take the pipes: %v", err)
	}
	return 0
}

// dialInit connects to a socket of process 1's, and of no other's.
func dialInit(socket string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	conn := os.NewFile(uintptr(fd), socket)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil || peer.Pid != 1 {
		_ = conn.Close()
		return nil, errAnothers
	}
	return conn, nil
}

// errAnothers is that a process of the sandbox poses as process 1.
var errAnothers = errors.New("another process has its socket")

// servePlugs lets root in the sandbox, as which the daemon comes, hand over pipes, one after the other.
func (p initProcess) servePlugs() {
	listener, err := listenAt(plugSocket, 4)
	if err != nil {
		_ = fail(0, "sandpool-init: processes cannot be supervised: listen on %s: %v", plugSocket, err)
		return
	}
	go func() {
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if err == nil {
				if peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && peer.Uid == 0 {
					p.takePipes(fd)
				} else {
					_ = unix.Close(fd)
				}
			} else if !errors.Is(err, unix.EINTR) {
				time.Sleep(endInterval) // it may be short of files
			}
		}
	}()
}

// takePipes receives a pair of pipes and serves the daemon over them.
func (p initProcess) takePipes(fd int) {
	defer func() { _ = unix.Close(fd) }()
	limit := unix.NsecToTimeval(time.Second.Nanoseconds()) // it is the only one that is served
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	pipes, use, err := receiveFiles(fd, 2)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte{0})
	_ = unix.SetNonblock(pipes[1], true) // so that it may have deadlines and be closed while it is used
	in, out := os.NewFile(uintptr(pipes[0]), "pipe"), os.NewFile(uintptr(pipes[1]), "pipe")
	if use == forDoor {
		go p.door.Serve(in, out)
	} else {
		go p.supervisor.Serve(in, out)
	}
}

// receiveFiles takes the descriptors that come with one byte, which must be so many, and the byte.
func receiveFiles(fd, count int) (files []int, said byte, err error) {
	control, message := make([]byte, unix.CmsgSpace(4*count)), make([]byte, 1)
	_, size, _, _, err := unix.Recvmsg(fd, message, control, unix.MSG_CMSG_CLOEXEC)
	for errors.Is(err, unix.EINTR) { // with a time limit the kernel does not go on by itself, and Go's runtime signals its threads
		_, size, _, _, err = unix.Recvmsg(fd, message, control, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return nil, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil {
		return nil, 0, err
	}
	for _, m := range messages {
		more, _ := unix.ParseUnixRights(&m) // an error says that it holds none
		files = append(files, more...)
	}
	if len(files) == count {
		return files, message[0], nil
	}
	for _, f := range files {
		_ = unix.Close(f)
	}
	return nil, 0, fmt.Errorf("want %d descriptors, got %d", count, len(files))
}
