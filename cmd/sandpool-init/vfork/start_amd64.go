package vfork

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"sandpool/cmd/sandpool-init/nofile"
)

const (
	clearSigHand = 1 << 32 // CLONE_CLEAR_SIGHAND: Go's runtime resets each of its 60 handlers by a call
	setMask      = 2       // SIG_SETMASK
	maskSize     = 8
	limitNoFile  = 7 // RLIMIT_NOFILE
	failedCode   = 127
)

// cloneArgs is the kernel's struct clone_args.
type cloneArgs struct {
	flags      uint64
	_          [3]uint64
	exitSignal uint64
	_          [6]uint64
}

// child is what a child works with, which may allocate nothing.
type child struct {
	clone        cloneArgs
	path, folder *byte
	argv, envv   []*byte
	files        [3]int
	terminal     bool
	credential   *syscall.Credential
	groups       unsafe.Pointer
	mask         uint64
	raised       bool // Go's runtime has raised limit
	limit, now   syscall.Rlimit
	failed       syscall.Errno // set by the child
}

// unable is set once the kernel has refused such a start.
var unable atomic.Bool

// signalMask is what each thread of this program lets through, and programs get.
var signalMask = sync.OnceValue(func() (mask uint64) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, 0, uintptr(unsafe.Pointer(&mask)), maskSize, 0, 0) //nolint:gosec // an address for the kernel
	return mask
})

// start starts the program, if it can be started in this way.
func (p Program) start() (pid int, able bool, err error) {
	if unable.Load() || slices.Min(p.Files[:]) < len(p.Files) { // which would be overwritten before it is needed
		return 0, false, nil
	}
	c, err := p.child()
	if err != nil {
		return 0, true, err
	}
	syscall.ForkLock.Lock()
	pid, refused := fork(c)
	afterFork()
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(c)
	switch {
	case refused == syscall.ENOSYS, refused == syscall.EINVAL, refused == syscall.EPERM:
		unable.Store(true)
		return 0, false, nil
	case refused != 0:
		return 0, true, refused
	case c.failed != 0:
		for errors.Is(reap(pid), syscall.EINTR) {
		}
		return 0, true, c.failed
	}
	return pid, true, nil
}

// reap takes the status of a child that did not become a program. Another may have taken it.
func reap(pid int) error {
	_, err := syscall.Wait4(pid, nil, 0, nil)
	return err
}

// child prepares the child of a fork.
func (p Program) child() (*child, error) {
	c := &child{
		clone: cloneArgs{flags: syscall.CLONE_VM | syscall.CLONE_VFORK | clearSigHand, exitSignal: uint64(syscall.SIGCHLD)},
		files: p.Files, terminal: p.Terminal, credential: p.Credential, mask: signalMask(),
		limit: syscall.Rlimit{Cur: nofile.Limit[0], Max: nofile.Limit[1]},
	}
	c.raised = c.limit.Max > 0 && c.limit.Cur < c.limit.Max-1 // see package syscall
	if p.Credential != nil && len(p.Credential.Groups) > 0 {
		c.groups = unsafe.Pointer(&p.Credential.Groups[0]) //nolint:gosec // an address for the kernel
	}
	var err error
	if c.path, err = syscall.BytePtrFromString(p.Path); err != nil {
		return nil, err
	}
	if p.Folder != "" {
		if c.folder, err = syscall.BytePtrFromString(p.Folder); err != nil {
			return nil, err
		}
	}
	if c.argv, err = syscall.SlicePtrFromStrings(p.Args); err != nil {
		return nil, err
	}
	c.envv, err = syscall.SlicePtrFromStrings(p.Env)
	return c, err
}

// These are for who forks as package syscall does: they block signals and preemption, and see that the stack does not grow.
//
//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:noescape
func rawVfork(args *cloneArgs) (pid uintptr, err syscall.Errno)

// fork returns in the parent only, once the child has become a program or has ended. Until then the child has the parent's memory and this function's
// frame, so that the parent does all else in the frame of its caller, and the child calls nothing that could make the stack grow.
//
//go:noinline
//go:norace
func fork(c *child) (int, syscall.Errno) {
	beforeFork()
	pid, err := rawVfork(&c.clone)
	if pid != 0 || err != 0 {
		return int(pid), err
	}
	c.failed = c.become()
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, failedCode, 0, 0)
	}
}

// become makes the child the program, or returns why it cannot be.
//
//go:nosplit
//go:norace
//go:nocheckptr
//nolint:gosec // addresses for the kernel
func (c *child) become() (err syscall.Errno) {
	if _, _, err = syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0); err != 0 {
		return err
	}
	if _, _, err = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&c.mask)), 0, maskSize, 0, 0); err != 0 {
		return err
	}
	if c.credential != nil {
		if _, _, err = syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(c.credential.Groups)), uintptr(c.groups), 0); err != 0 {
			return err
		}
		if _, _, err = syscall.RawSyscall(syscall.SYS_SETGID, uintptr(c.credential.Gid), 0, 0); err != 0 {
			return err
		}
		if _, _, err = syscall.RawSyscall(syscall.SYS_SETUID, uintptr(c.credential.Uid), 0, 0); err != 0 {
			return err
		}
	}
	if c.folder != nil {
		if _, _, err = syscall.RawSyscall(syscall.SYS_CHDIR, uintptr(unsafe.Pointer(c.folder)), 0, 0); err != 0 {
			return err
		}
	}
	for i := range c.files {
		if _, _, err = syscall.RawSyscall(syscall.SYS_DUP3, uintptr(c.files[i]), uintptr(i), 0); err != 0 {
			return err
		}
	}
	if c.terminal {
		if _, _, err = syscall.RawSyscall(syscall.SYS_IOCTL, 0, syscall.TIOCSCTTY, 1); err != 0 {
			return err
		}
	}
	if c.raised { // a limit that is not as the runtime left it is another's will
		_, _, err = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, limitNoFile, 0, uintptr(unsafe.Pointer(&c.now)), 0, 0)
		if err == 0 && c.now.Cur == c.limit.Max-1 && c.now.Max == c.limit.Max {
			_, _, _ = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, limitNoFile, uintptr(unsafe.Pointer(&c.limit)), 0, 0, 0)
		}
	}
	_, _, err = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(c.path)), uintptr(unsafe.Pointer(&c.argv[0])), uintptr(unsafe.Pointer(&c.envv[0])))
	return err
}
