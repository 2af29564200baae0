package main

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/supervise"
	"sandpool/runtime/supervisor/protocol"
)

const (
	// keepSocket is the abstract unix socket by which process 1 gets what claims bring along.
	keepSocket = "@sandpool-keep"
	// keepTime is how long a caller may take to send it.
	keepTime = 10 * time.Second
)

// keep has process 1 keep the words of its input, which are KEY=VALUE. The daemon runs it as root. The words are in no file: a pipe holds them.
func keep(args []string) int {
	if len(args) > 0 {
		return fail(exitUsage, "usage: sandpool-init keep <WORDS")
	}
	words, err := io.ReadAll(io.LimitReader(os.Stdin, supervise.MaxKept+1))
	if err != nil || len(words) > supervise.MaxKept {
		return fail(exitFailure, "sandpool-init: read what to keep: %v", err)
	}
	conn, err := dialInit(keepSocket)
	if err != nil {
		return fail(exitFailure, "sandpool-init: ask process 1: %v", err)
	}
	defer func() { _ = conn.Close() }()
	if _, err = conn.Write(words); err == nil {
		err = supervise.Control(conn, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
	}
	var taken [1]byte
	if err == nil {
		_, err = io.ReadFull(conn, taken[:])
	}
	if err != nil {
		return fail(exitFailure, "sandpool-init: process 1 does not keep it: %v", err)
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

// takeWords receives what a claim brought along, and adds it to what others did.
func takeWords(s *supervise.Supervisor, fd int) {
	limit := unix.NsecToTimeval(keepTime.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	conn := os.NewFile(uintptr(fd), keepSocket)
	defer func() { _ = conn.Close() }()
	message, err := io.ReadAll(io.LimitReader(conn, supervise.MaxKept+1))
	if err != nil {
		return
	}
	words, err := protocol.SplitWords(message)
	if err == nil && s.Keep(words) {
		_, _ = conn.Write([]byte{0})
	}
}
