// Package tree packs trees of files into tar streams and unpacks them, in folders that others may change meanwhile: it walks from folder
// to folder by descriptors and follows no link.
//
// The sandbox's init and the command share it, so that a copy means the same in both directions. It imports little: the init is the first
// thing to run in every sandbox.
package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// blockSize is what tar measures in, in bytes.
const blockSize = 512

// copyBuffer is how much of a file is read at a time, in bytes.
const copyBuffer = 256 << 10

// OpenFolder opens a folder, following links as any program does.
func OpenFolder(path string) (*os.File, error) {
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenInner opens a folder in a folder. A link to one is none: ENOTDIR, as for all that is none.
func OpenInner(folder *os.File, name string) (*os.File, error) {
	fd, err := openAt(int(folder.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) {
		err = unix.ENOTDIR
	}
	if err != nil {
		return nil, err
	}
	inner := os.NewFile(uintptr(fd), name)
	// gVisor follows a link in spite of O_NOFOLLOW where O_DIRECTORY is, so that the name must have this very folder.
	var opened unix.Stat_t
	st, err := StatAt(folder, name)
	if err == nil {
		err = unix.Fstat(fd, &opened)
	}
	if err == nil && (st.Dev != opened.Dev || st.Ino != opened.Ino) {
		err = unix.ENOTDIR
	}
	if err != nil {
		_ = inner.Close()
		return nil, err
	}
	return inner, nil
}

// openAt is openat(2) that is tried again when a signal came.
func openAt(dir int, name string, flags int, mode uint32) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// Names returns what is in a folder, sorted.
func Names(folder *os.File) ([]string, error) {
	names, err := folder.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Split returns the folder that has what a path leads to, and its name there. What has no name of its own, such as / or .., is "." in
// itself.
func Split(path string) (folder, name string) {
	folder, name = filepath.Split(path)
	switch {
	case name == "" || name == "." || name == "..":
		return path, "."
	case folder == "":
		folder = "."
	}
	return folder, name
}

// StatAt is what is known of what is in a folder, of a link itself and not of where it leads.
func StatAt(folder *os.File, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(folder.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// Link returns where a link leads.
func Link(folder *os.File, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(folder.Fd()), name, buf)
	return string(buf[:max(n, 0)]), err
}

// OpenPlain opens a plain file to be read. Whatever else has the name is an error, and is not waited for.
func OpenPlain(folder *os.File, name string) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := openAt(int(folder.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, st, err
	}
	file := os.NewFile(uintptr(fd), name)
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("it is no plain file any more: %w", unix.EINVAL)
	}
	if err != nil {
		_ = file.Close()
		return nil, st, err
	}
	return file, st, nil
}
