package main

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// connect carries its input to a TCP port of the sandbox's own and what comes from there to its output, until no more comes.
func connect(args []string) int {
	port, err := portOf(args)
	if err != nil {
		return fail(exitUsage, "usage: sandpool-init connect PORT")
	}
	fd, err := dialPort(port)
	if err != nil {
		return fail(exitFailure, "sandpool-init: connect to port %d: %v", port, err)
	}
	go func() {
		if err := carry(fd, 0); err == nil {
			_ = unix.Shutdown(fd, unix.SHUT_WR) // the other side may have left
		}
	}()
	if err := carry(1, fd); err != nil {
		return fail(exitFailure, "sandpool-init: receive from port %d: %v", port, err)
	}
	return 0
}

// portOf returns the port that is the only one of the arguments.
func portOf(args []string) (int, error) {
	if len(args) != 1 {
		return 0, errors.New("want one port")
	}
	port, err := strconv.ParseUint(args[0], 10, 16)
	if err == nil && port == 0 {
		err = errors.New("port 0 is none")
	}
	return int(port), err
}

// dialPort connects to a program in the sandbox that listens on the port, by IPv4 or IPv6.
func dialPort(port int) (int, error) {
	fd, err := dial(unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil {
		var second error
		if fd, second = dial(unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}); second == nil {
			return fd, nil
		}
	}
	return fd, err
}

// dial does without package net, which would make every sandbox's init half as large again.
func dial(family int, to unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Connect(fd, to); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// carry copies from one descriptor to another until the first ends.
func carry(to, from int) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Read(from, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return nil
		}
		for sent := 0; sent < n; {
			m, err := unix.Write(to, buf[sent:n])
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			sent += max(m, 0)
		}
	}
}
