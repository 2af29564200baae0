// Package lockfile locks what one daemon at a time may use.
package lockfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Lock is held on a file that names the process that has it. It ends with that process, however it ends.
type Lock struct {
	dir  *os.Root // what containerd sees may have no name here once containerd has ended
	name string
	file *os.File
}

// Take makes the file name in dir and locks it. While another process has it the error names that one, and says what to do.
func Take(dir, name, repair string) (_ *Lock, err error) {
	l := &Lock{name: name}
	defer func() {
		if err != nil {
			_ = l.close()
		}
	}()
	if l.dir, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	for l.file == nil || !l.isStill() { // its last holder may have removed it meanwhile
		if l.file != nil {
			_ = l.file.Close()
		}
		if l.file, err = l.dir.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			return nil, err
		}
		err = unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another sandpoold%s has it: %s", l.holder(), repair)
		}
		if err != nil {
			return nil, err
		}
	}
	_, err = l.file.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
	return l, err
}

// isStill tells whether the file that is locked is the one that has the name.
func (l *Lock) isStill() bool {
	open, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := l.dir.Lstat(l.name)
	return err == nil && os.SameFile(open, named)
}

// holder is the process that the file names, for a message.
func (l *Lock) holder() string {
	text, err := io.ReadAll(l.file)
	pid := strings.TrimSpace(string(text))
	if err != nil || pid == "" { // it is taking the lock just now
		return ""
	}
	return fmt.Sprintf(" (process %s)", pid)
}

// Release removes the file while nobody else can have it. One that cannot be removed harms nothing.
func (l *Lock) Release() error {
	if l == nil {
		return nil
	}
	_ = l.dir.Remove(l.name)
	return l.close()
}

func (l *Lock) close() error {
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	if l.dir != nil {
		errs = append(errs, l.dir.Close())
	}
	return errors.Join(errs...)
}
