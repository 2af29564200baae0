package hostproc

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OnThread runs do on a thread that ends with it, so that do may change its namespaces and its user. It is never the process's first thread,
// which does not end, and whose view of mounts /proc/self shows.
func OnThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- OnThread(do) // on another one, since this is taken
			return
		}
		done <- do()
	}()
	return <-done
}
