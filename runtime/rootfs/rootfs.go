// Package rootfs reads an image's files on the host as what a stranger wrote: no link in them leads to the host's files, and
// nothing in them is waited for.
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxLinks is how many symbolic links a path may lead through, as in the kernel.
	maxLinks = 40
	// maxParts is how many names a path may have with all that its links add: each costs a look at all folders above it.
	maxParts = 1000
	// maxPath is the length of a path in bytes that the kernel takes.
	maxPath = 4095
	// maxFile is the size in bytes of the largest file that is read.
	maxFile = 4 << 20
)

// Files are those of an image, whose root is a folder of the host that nobody changes meanwhile.
type Files struct {
	root *os.Root
}

// Open opens the folder that has the files.
func Open(dir string) (*Files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the image's files: %w", err)
	}
	return &Files{root}, nil
}

// Close closes the folder.
func (f *Files) Close() error { return f.root.Close() }

// Resolve follows the links of a path as a process in the image would, and returns where it leads: a clean absolute path
// without links, and what is there, or nil if nothing is. A path that no process could follow is an error.
func (f *Files) Resolve(name string) (resolved string, info fs.FileInfo, err error) {
	at, rest := "/", strings.Split(name, "/")
	if info, err = f.root.Lstat("."); err != nil {
		return "", nil, err
	}
	for links, parts := 0, 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if parts++; parts > maxParts {
			return "", nil, fmt.Errorf("%.200q in the image leads through too many folders", name)
		}
		if !info.IsDir() {
			return "", nil, fmt.Errorf("%s in the image is %s, not a folder", at, kind(info))
		}
		next := path.Join(at, part) // which takes .. as the parent, since there is no link in it
		info, err = f.root.Lstat(inside(next))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return path.Join(append([]string{next}, rest...)...), nil, nil
		case err != nil:
			return "", nil, fmt.Errorf("%.200q in the image: %w", next, reason(err))
		case info.Mode().Type() != fs.ModeSymlink:
			at = next
			continue
		}
		target, err := f.root.Readlink(inside(next))
		if err != nil {
			return "", nil, fmt.Errorf("%.200q in the image: %w", next, reason(err))
		}
		if links++; links > maxLinks || len(target) > maxPath {
			return "", nil, fmt.Errorf("%.200q in the image leads through too many links", name)
		}
		rest = append(strings.Split(target, "/"), rest...)
		if path.IsAbs(target) {
			at = "/"
		}
		if info, err = f.root.Lstat(inside(at)); err != nil {
			return "", nil, fmt.Errorf("%.200q in the image: %w", at, reason(err))
		}
	}
	return at, info, nil
}

// inside is an absolute path as one relative to the root.
func inside(name string) string { return path.Join(".", name) }

// reason is an error of the file system without the path, which is relative to the root and may be long.
func reason(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// read returns the content of a plain file. That there is none is an error of class fs.ErrNotExist.
func (f *Files) read(name string) ([]byte, error) {
	resolved, info, err := f.Resolve(name)
	switch {
	case err != nil:
		return nil, err
	case info == nil:
		return nil, fmt.Errorf("%s in the image: %w", name, fs.ErrNotExist)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s in the image is %s, not a file", name, kind(info))
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s in the image has %d bytes, more than the %d that are read of it", name, info.Size(), maxFile)
	}
	file, err := f.root.OpenFile(inside(resolved), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%s in the image: %w", name, reason(err))
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read %s in the image: %w", name, reason(err))
	}
	return data, nil
}

// IsEmpty tells whether a path is that of an empty folder, or of nothing. It does not follow a link at its end.
func (f *Files) IsEmpty(name string) bool {
	info, err := f.root.Lstat(inside(name))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	if !info.IsDir() {
		return false
	}
	folder, err := f.root.OpenFile(inside(name), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = folder.Close() }()
	_, err = folder.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// kind names what a file is that is no plain file or folder as it should be.
func kind(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return "a folder"
	case mode.IsRegular():
		return "a file"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "a special file"
	}
}
