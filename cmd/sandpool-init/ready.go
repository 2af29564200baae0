package main

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// connectInterval is the time between two attempts to connect.
	connectInterval = 20 * time.Millisecond
	// beginTime is how long process 1 may take to start its command, and more than lingerTime. One that cannot listen never says
	// that it has.
	beginTime = 3 * lingerTime
)

// ready waits until process 1 has started its command: with a port, until that accepts a connection. Who runs it sets the
// deadline.
func ready(args []string) int {
	if len(args) == 0 {
		for began := time.Now(); !connects(unix.AF_UNIX, &unix.SockaddrUnix{Name: spawnSocket}) && time.Since(began) < beginTime; {
			time.Sleep(connectInterval)
		}
		return 0
	}
	port, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil || port == 0 || len(args) > 1 {
		return fail(exitUsage, "usage: sandpool-init ready [PORT]")
	}
	for !accepts(int(port)) {
		time.Sleep(connectInterval)
	}
	return 0
}

// accepts tells whether a program in the sandbox listens on the port, by IPv4 or IPv6.
func accepts(port int) bool {
	return connects(unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) ||
		connects(unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}})
}

// connects does without package net, which would make every sandbox's init half as large again.
func connects(family int, to unix.Sockaddr) bool {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Connect(fd, to) == nil
}
