package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folder is one of the sandbox's folders in which root reads and writes files. Nothing that is in it is followed or waited for: an
// image may have a link, a pipe or a device where a file should be, and so may whoever ran in a sandbox before its restore.
type folder struct {
	fd   int
	path string
}

func (d *folder) close() { _ = unix.Close(d.fd) }

// open opens a plain file. Whatever else has the name is an error at once; errors of the system's are as it gives them.
func (d *folder) open(name string, flags int, mode uint32) (*os.File, error) {
	path := filepath.Join(d.path, name)
	fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO): // a link; a pipe that nobody reads, or a socket
		return nil, notPlain(path)
	case err != nil:
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, errors.Join(err, notPlain(path))
	}
	return file, nil
}

func notPlain(path string) error { return fmt.Errorf("%s is no plain file: remove it", path) }

// read returns the content of a plain file of at most limit bytes, or nothing.
func (d *folder) read(name string, limit int64) []byte {
	file, err := d.open(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || info.Size() > limit {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return nil
	}
	return data
}

// write puts a new file that every user may read in place of whatever has the name, so that a reader has either of them whole. What
// is mounted there stays.
func (d *folder) write(name, content string) error {
	next := ".sandpool-" + name
	err := d.create(next, content)
	if err == nil {
		err = unix.Renameat(d.fd, next, d.fd, name)
	}
	if errors.Is(err, unix.ENOSPC) { // of what may be written; the old file makes room for the new one
		_ = unix.Unlinkat(d.fd, next, 0)
		if err = unix.Unlinkat(d.fd, name, 0); err == nil {
			err = d.create(name, content)
		}
	}
	if err != nil {
		_ = unix.Unlinkat(d.fd, next, 0)
	}
	if err == nil || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return fmt.Errorf("write %s: %w", filepath.Join(d.path, name), err)
}

func (d *folder) create(name, content string) error {
	_ = unix.Unlinkat(d.fd, name, 0) // of an earlier try
	file, err := d.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, content)
	return errors.Join(err, file.Chmod(0o644), file.Close())
}

// remove removes a file, which need not be there.
func (d *folder) remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %s: %w", filepath.Join(d.path, name), err)
	}
	return nil
}
