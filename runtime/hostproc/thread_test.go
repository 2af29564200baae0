package hostproc

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/scripts/testhost"
)

// So that TestMain runs on the first thread.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	firstThreads = countFirstThreads()
	m.Run()
}

// firstThreads is how often the first thread was taken.
var firstThreads int

// countFirstThreads calls OnThread where Go would take the first thread: from a goroutine that has that one, and the only processor.
func countFirstThreads() (count int) {
	runtime.UnlockOSThread()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for range 100 {
		_ = OnThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				count++
			}
			return nil
		})
	}
	return count
}

func TestOnThread(t *testing.T) {
	if firstThreads > 0 {
		t.Errorf("of 100 times the first thread was taken %d times", firstThreads)
	}
}
