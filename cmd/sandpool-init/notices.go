package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// noticeDir is where programs in the sandbox find what the host tells them. To watch a file there, watch the folder: each
// is replaced at times.
const noticeDir = "/run/sandpool"

// Sizes in bytes: of one line for tell, and of the file from which on its older half is dropped.
const (
	maxLine   = 4 << 10
	maxEvents = 64 << 10
)

// lockTime is how long tell waits for others that tell.
const lockTime = 2 * time.Second

// tell appends a line of its input to the events. Whoever runs it is root.
func tell(args []string) int {
	if len(args) > 0 {
		return fail(exitUsage, "usage: sandpool-init tell <LINE")
	}
	input, err := io.ReadAll(io.LimitReader(os.Stdin, maxLine+1))
	if err != nil {
		return fail(exitFailure, "sandpool-init: read the line: %v", err)
	}
	line, rest, _ := bytes.Cut(input, []byte("\n"))
	if len(line) == 0 || len(line) >= maxLine || len(rest) > 0 {
		return fail(exitUsage, "sandpool-init: want one line of at most %d bytes as input", maxLine)
	}
	dir, err := openNotices()
	if err != nil {
		return fail(exitFailure, "sandpool-init: %v", err)
	}
	defer dir.close()
	if err := appendEvent(dir, append(line, '\n')); err != nil {
		return fail(exitFailure, "sandpool-init: add an event: %v", err)
	}
	return 0
}

// openNotices opens the folder, which it makes if need be. A link would lead root's writes to where its maker likes, and
// so could files that others than root make in the folder: both are refused.
func openNotices() (*folder, error) {
	unix.Umask(0o022)
	if err := unix.Mkdir(noticeDir, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make %s: %w", noticeDir, err)
	}
	fd, err := unix.Open(noticeDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%s is no folder: remove it", noticeDir)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", noticeDir, err)
	}
	var info unix.Stat_t
	err = unix.Fstat(fd, &info)
	if err == nil && (info.Uid != 0 || info.Mode&0o022 != 0) {
		err = fmt.Errorf("others than root can write in %s: remove it", noticeDir)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &folder{fd, noticeDir}, nil
}

// appendEvent adds the line. The lock keeps an event from being lost when another one makes the file shorter.
func appendEvent(dir *folder, line []byte) error {
	lock, err := dir.open(".lock", unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		return fmt.Errorf("open the lock: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := lockWithin(lock, lockTime); err != nil {
		return err
	}
	file, err := dir.open("events", unix.O_RDWR|unix.O_APPEND|unix.O_CREAT, 0o644)
	if err != nil {
		return fmt.Errorf("open the events: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Write(line); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil || info.Size() <= maxEvents {
		return err
	}
	newest := make([]byte, maxEvents/2)
	if _, err := file.ReadAt(newest, info.Size()-int64(len(newest))); err != nil {
		return err
	}
	_, whole, _ := bytes.Cut(newest, []byte("\n"))
	return dir.write("events", string(whole))
}

// lockWithin takes the lock, for which it waits: an event is written in no time, but root in the sandbox can hold it for ever.
func lockWithin(lock *os.File, limit time.Duration) error {
	for began := time.Now(); ; time.Sleep(connectInterval) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("lock %s: %w", lock.Name(), err)
		case time.Since(began) > limit:
			return fmt.Errorf("lock %s: another process has held it for %v", lock.Name(), limit)
		}
	}
}
