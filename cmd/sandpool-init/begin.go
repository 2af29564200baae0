package main

import (
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// beginSocket is the abstract unix socket on which process 1 waits to be told that it may start its command. Until then nobody
// else is in the sandbox.
const beginSocket = "@sandpool-begin"

// begin prepares a new sandbox as root, which process 1 need not be, lets process 1 start its command and waits until it has.
// What of the preparation does not work is reported: an image that has no place for a file can do without.
func begin(args []string) int {
	servers, known := map[string]string{"": "", "offline": noServer, "door": doorServer}[strings.Join(args, " ")]
	if !known {
		return fail(exitUsage, "usage: sandpool-init begin [offline | door]")
	}
	unix.Umask(0o022)
	id, err := os.Hostname()
	if err == nil {
		err = nameSandbox(id, servers)
	}
	if err != nil {
		_ = fail(0, "sandpool-init: name the sandbox: %v", err)
	}
	for began := time.Now(); time.Since(began) < beginTime; time.Sleep(connectInterval) {
		if connects(unix.AF_UNIX, &unix.SockaddrUnix{Name: beginSocket}) {
			return ready(nil)
		}
		if connects(unix.AF_UNIX, &unix.SockaddrUnix{Name: spawnSocket}) {
			break // it has begun, or has nothing to wait for
		}
	}
	return 0
}

// awaitBegin waits until the command may begin, or until process 1 is asked to end, by the signal that is returned then. One that
// cannot listen does not wait.
func (p initProcess) awaitBegin() os.Signal {
	told := make(chan struct{})
	listener, err := listenAt(beginSocket, 1)
	if err != nil {
		_ = fail(0, "sandpool-init: the command does not wait for the sandbox to be prepared: listen on %s: %v", beginSocket, err)
		return nil
	}
	go func() {
		defer close(told)
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		for errors.Is(err, unix.EINTR) {
			fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		}
		_ = unix.Close(listener)
		_ = unix.Close(fd)
	}()
	for {
		select {
		case <-told:
			return nil
		case <-p.children:
			p.reap(0)
		case sig := <-p.signals:
			if asksToEnd(sig) {
				return sig
			}
		}
	}
}
