package main

import (
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

// ready waits until process 1 has started its command, and fails with the last that the command wrote if that has ended already. With a port
// it waits until that accepts a connection. Who runs it sets the deadline.
func ready(args []string) int {
	if len(args) == 0 {
		for began := time.Now(); time.Since(began) < beginTime; time.Sleep(connectInterval) {
			if !connects(unix.AF_UNIX, &unix.SockaddrUnix{Name: spawnSocket}) {
				continue // who asks for its end now would not be there when it comes
			}
			if commandEnded() {
				return exitFailure
			}
			break
		}
		return 0
	}
	port, err := portOf(args)
	if err != nil {
		return fail(exitUsage, "usage: sandpool-init ready [PORT]")
	}
	for !accepts(port) {
		time.Sleep(connectInterval)
	}
	return 0
}

// accepts tells whether a program in the sandbox listens on the port, by IPv4 or IPv6.
func accepts(port int) bool {
	fd, err := dialPort(port)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

func connects(family int, to unix.Sockaddr) bool {
	fd, err := dial(family, to)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}
