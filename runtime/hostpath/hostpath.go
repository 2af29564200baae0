// Package hostpath tells whether others than root could change what a path of the host leads to.
package hostpath

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links one path may lead through, as in the kernel.
const maxLinks = 40

// Check returns an error when others than root and this process's user could change what is at path, or put something else there.
// That is so unless the entry, each folder above it and each link on the way belong to one of the two, and nobody else may write to
// them. In a folder with the sticky bit, such as /tmp, others may write: they can replace none of our entries. An access control list
// counts, since the kernel shows its mask as the rights of the group. The mode of a socket says who may connect, and is not judged.
//
// What is not there, or cannot be seen by this user, is no fault. What passes stays so until root changes it: each entry is looked at
// after the folder that it is in, so nobody else can have exchanged it meanwhile.
func Check(path string) error { return check(path, func(entry) bool { return true }) }

// CheckAbove is Check for an entry that may be anybody's.
func CheckAbove(path string) error { return check(path, func(e entry) bool { return !e.last }) }

func check(path string, judged func(entry) bool) error {
	found, err := resolve(path)
	if err != nil {
		return err
	}
	for _, e := range found {
		if !judged(e) {
			continue
		}
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

// MakeFolder makes a folder, and those above it, unless they are there, and checks it as Check does.
func MakeFolder(path string, mode fs.FileMode) error {
	if err := Check(path); err != nil { // root makes nothing where others want it
		return err
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return Check(path)
}

// ReadFile returns what a regular file of at most limit bytes holds. It waits for nobody, as the open of a named pipe would.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: name one", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than the %d KiB that are read: make it smaller", path, limit>>10)
	}
	return data, err
}

// entry is a folder, file or link on the way to what a path leads to.
type entry struct {
	path string
	stat unix.Stat_t
	last bool // it is what the path leads to
}

// resolve returns what is on the way to a path, links and their targets included, as far as it is there and can be seen.
func resolve(path string) ([]entry, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is no absolute path: give one", path)
	}
	var found []entry
	at, links := "", 0
	for todo := strings.Split(path, "/"); len(todo) > 0; {
		next := filepath.Join("/", at, todo[0])
		todo = todo[1:]
		if next == at {
			continue
		}
		e := entry{path: next}
		err := unix.Lstat(next, &e.stat)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOTDIR) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", next, err)
		}
		found = append(found, e)
		if !e.is(unix.S_IFLNK) {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("%s leads through more than %d links: mend them", path, maxLinks)
		}
		target, err := os.Readlink(next)
		if err != nil {
			return nil, err
		}
		if filepath.IsAbs(target) {
			at = ""
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	found[len(found)-1].last = found[len(found)-1].path == at
	return found, nil
}

func (e entry) is(kind uint32) bool { return e.stat.Mode&unix.S_IFMT == kind }

// check judges one entry.
func (e entry) check() error {
	var faults, repairs []string
	if uid := e.stat.Uid; uid != 0 && int(uid) != os.Geteuid() {
		faults = append(faults, fmt.Sprintf("belongs to uid %d", uid))
		repairs = append(repairs, "chown -h root: "+e.path)
	}
	sticky := !e.last && e.is(unix.S_IFDIR) && e.stat.Mode&unix.S_ISVTX != 0
	if !e.is(unix.S_IFLNK) && !e.is(unix.S_IFSOCK) && e.stat.Mode&0o022 != 0 && !sticky {
		faults = append(faults, fmt.Sprintf("can be written by others (mode %04o)", e.stat.Mode&0o7777))
		repairs = append(repairs, "chmod go-w "+e.path)
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%s %s, and what is there is used as root: %s, or use another path", e.path, strings.Join(faults, " and "), strings.Join(repairs, " && "))
}
