package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

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
		return fail(exitFailure, "sandpool-init: open %s: %v", noticeDir, err)
	}
	defer func() { _ = dir.Close() }()
	if err := appendEvent(dir, append(line, '\n')); err != nil {
		return fail(exitFailure, "sandpool-init: add to %s/events: %v", noticeDir, err)
	}
	return 0
}

// openNotices opens the folder, which it makes if need be. A link would lead root's writes to where its maker likes, and
// so could files that others than root make in the folder: both are refused.
func openNotices() (*os.Root, error) {
	unix.Umask(0o022)
	err := os.Mkdir(noticeDir, 0o755) //nolint:gosec // every user may read it
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	dir, err := os.OpenRoot(noticeDir)
	if err != nil {
		return nil, err
	}
	if err := checkNotices(dir); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

func checkNotices(dir *os.Root) error {
	named, err := os.Lstat(noticeDir)
	if err != nil {
		return err
	}
	opened, err := dir.Stat(".")
	if err != nil {
		return err
	}
	if !os.SameFile(named, opened) {
		return errors.New("it is a link: remove it")
	}
	if opened.Sys().(*syscall.Stat_t).Uid != 0 || opened.Mode()&0o022 != 0 {
		return errors.New("others than root can write there: remove it")
	}
	return nil
}

// appendEvent adds the line. The lock keeps an event from being lost when another one makes the file shorter; it is a file
// that root alone can open, so that no user can hold it.
func appendEvent(dir *os.Root, line []byte) error {
	lock, err := dir.OpenFile(".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	file, err := dir.OpenFile("events", os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
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
	return replace(dir, "events", whole)
}

// replace puts a new file in the old one's place, so that a reader has either of them whole.
func replace(dir *os.Root, name string, content []byte) error {
	if err := dir.WriteFile(name+".new", content, 0o644); err != nil {
		return err
	}
	return dir.Rename(name+".new", name)
}
