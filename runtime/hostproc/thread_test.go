package hostproc

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnThread calls it where Go would take the first thread: from a goroutine that has that one, and one processor.
func TestOnThread(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	free, tried := make(chan struct{}), make(chan bool)
	defer close(free)
	for range 1000 {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if unix.Gettid() != unix.Getpid() {
				tried <- false
				<-free
				return
			}
			runtime.UnlockOSThread()
			for range 100 {
				if err := OnThread(func() error {
					if unix.Gettid() == unix.Getpid() {
						t.Error("it runs on the first thread")
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
			runtime.LockOSThread()
			tried <- true
		}()
		if <-tried {
			return
		}
	}
	t.Error("no goroutine got the first thread")
}
