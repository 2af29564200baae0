package main

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReceiveIsNotInterrupted has signals come while descriptors are waited for, as Go's own runtime sends them.
func TestReceiveIsNotInterrupted(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Timeval{Sec: 60}
	if err := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	thread, received := make(chan int), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread <- unix.Gettid()
		files, _, err := receiveFiles(pair[0], 1)
		for _, f := range files {
			_ = unix.Close(f)
		}
		received <- err
	}()
	tid := <-thread
	for range 1000 {
		if err := unix.Tgkill(os.Getpid(), tid, unix.SIGURG); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if err := unix.Sendmsg(pair[1], []byte{0}, unix.UnixRights(0), nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Errorf("receive: %v", err)
	}
}
