package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sandpool/runtime/hostpath"
	"sandpool/runtime/hostproc"
)

// lockState makes the state folder and takes it for this process.
func (e *Engine) lockState() error {
	for _, dir := range []string{e.cfg.StateDir, e.cfg.runscDir(), e.cfg.fifoDir(), e.cfg.shimDir()} {
		if err := hostpath.MakeFolder(dir, 0o711); err != nil { // the API socket may be in it, for users of its group
			return fmt.Errorf("make state folder: %w", err)
		}
	}
	var err error
	if e.state, err = takeLock(e.cfg.StateDir, "lock", "stop it or set daemon.state_dir"); err != nil {
		return fmt.Errorf("lock the state folder %s: %w", e.cfg.StateDir, err)
	}
	if err := e.openPipes(); err != nil {
		return err
	}
	return e.sweepPipes(0) // of those of a daemon that was killed no more is needed than the ends that are open
}

// lockNamespace takes containerd's namespace for this process, whatever its state folder is: all that has a sandbox's id in it
// is this engine's. The lock lies beside containerd's socket as containerd itself sees it, so a daemon with other mounts or
// another network finds the same one.
func (e *Engine) lockNamespace(ctx context.Context) error {
	peer, err := hostproc.PeerOf(ctx, e.cfg.Address)
	if err != nil {
		return fmt.Errorf("find containerd's process: %w", err)
	}
	dir, name := filepath.Split(filepath.Join(hostproc.Root(peer.PID), peer.Socket))
	if e.namespace, err = takeLock(dir, name+".sandpool-"+e.cfg.Namespace+".lock", "stop it or set containerd.namespace"); err != nil {
		return fmt.Errorf("lock namespace %q of containerd at %s: %w", e.cfg.Namespace, e.cfg.Address, err)
	}
	return nil
}

// lock is held on a file that names the process that has it. It ends with that process, however it ends.
type lock struct {
	dir  *os.Root // what containerd sees may have no name here once containerd has ended
	name string
	file *os.File
}

// takeLock makes the file and locks it. While another process has it the error names that one, and says what to do.
func takeLock(dir, name, mend string) (_ *lock, err error) {
	l := &lock{name: name}
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
			return nil, fmt.Errorf("another sandpoold%s has it: %s", l.holder(), mend)
		}
		if err != nil {
			return nil, err
		}
	}
	_, err = l.file.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
	return l, err
}

// isStill tells whether the file that is locked is the one that has the name.
func (l *lock) isStill() bool {
	open, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := l.dir.Lstat(l.name)
	return err == nil && os.SameFile(open, named)
}

// holder is the process that the file names, for a message.
func (l *lock) holder() string {
	text, err := io.ReadAll(l.file)
	pid := strings.TrimSpace(string(text))
	if err != nil || pid == "" { // it is taking the lock just now
		return ""
	}
	return fmt.Sprintf(" (process %s)", pid)
}

// release removes the file while nobody else can have it. One that cannot be removed harms nothing.
func (l *lock) release() error {
	if l == nil {
		return nil
	}
	_ = l.dir.Remove(l.name)
	return l.close()
}

func (l *lock) close() error {
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	if l.dir != nil {
		errs = append(errs, l.dir.Close())
	}
	return errors.Join(errs...)
}
