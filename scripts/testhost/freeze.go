package testhost

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Freeze stops a process and returns when none of its threads runs any more: a signal is sent long before all of them have heard it.
func Freeze(ctx context.Context, pid int) error {
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	var last error
	err := Poll(ctx, time.Millisecond, func() bool {
		var still bool
		still, last = frozen(pid)
		return still || last != nil
	})
	if err == nil {
		err = last
	}
	if err != nil {
		return fmt.Errorf("wait until process %d stands still: %w", pid, err)
	}
	return nil
}

// frozen is whether each thread of a process is stopped.
func frozen(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			return false, nil //nolint:nilerr // that thread has ended: look again
		}
		_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" "))
		if !bytes.HasPrefix(state, []byte("T")) {
			return false, nil
		}
	}
	if len(threads) == 0 {
		return false, os.ErrProcessDone
	}
	return true, nil
}
