package hostproc

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// NewNetwork makes a network namespace, which lives for as long as the file is open or a process is in it.
func NewNetwork() (ns *os.File, err error) {
	err = OnThread(func() error { // the thread ends with what it was changed to
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// InNetwork runs do on a thread that is in a network namespace, as are the sockets that do opens and the processes that it starts.
func InNetwork(ns *os.File, do func() error) error {
	return OnThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return do()
	})
}
