package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// trialDir is the folder of an inspection's trials. It has the same name each time, so that the next one finds what one that was
// killed left. It is beside the daemon's own folder, since containerd is known to see that.
func trialDir(cfg Config) string {
	return filepath.Join(filepath.Dir(cfg.StateDir), "sandpool-doctor-"+cfg.Namespace)
}

// lockTrials makes the folder of trials and takes it for this process, until the returned file is closed.
func lockTrials(dir string) (*os.File, error) {
	for {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("make a folder for the trials: %w", err)
		}
		lock, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // another one ended, and removed it
		}
		if err != nil {
			return nil, fmt.Errorf("open the folder of the trials: %w", err)
		}
		current, err := takeTrials(dir, lock)
		if err == nil && current {
			return lock, nil
		}
		_ = lock.Close()
		if err != nil {
			return nil, err
		}
	}
}

// takeTrials locks an open folder of trials. It returns whether that is still the one at dir.
func takeTrials(dir string, lock *os.File) (current bool, err error) {
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, fmt.Errorf("lock %s: another doctor is at work: wait until it has ended", dir)
	}
	var held, found unix.Stat_t
	if err := unix.Fstat(int(lock.Fd()), &held); err != nil {
		return false, fmt.Errorf("look at %s: %w", dir, err)
	}
	if int(held.Uid) != os.Geteuid() || held.Mode&0o077 != 0 {
		return false, fmt.Errorf("use %s: it belongs to another user, or others may use it: remove it", dir)
	}
	err = unix.Lstat(dir, &found)
	return err == nil && found.Dev == held.Dev && found.Ino == held.Ino, nil
}

// clearTrials removes what trials left in containerd that nobody could end: those of a killed doctor. What is left of them is no
// daemon's.
func (e *Engine) clearTrials(ctx context.Context) error {
	left, err := e.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, sandbox := range left {
		errs = append(errs, e.Destroy(ctx, sandbox.ID))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what an earlier doctor left: %w", err)
	}
	return e.Sweep(ctx, func(string) bool { return false })
}
