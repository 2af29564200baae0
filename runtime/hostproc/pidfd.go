package hostproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/lifetime/wait"
)

// End kills the process and waits until it has ended; false if it had before. It goes through a pidfd, so that a process that got the pid
// meanwhile is never hit.
func (p Process) End(ctx context.Context) (bool, error) {
	file, err := p.Open()
	if err != nil || file == nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	if err := p.kill(file); err != nil {
		return true, err
	}
	return true, p.await(ctx, file)
}

// kill kills the process that a pidfd is of. One that has ended is no error.
func (p Process) kill(file *os.File) error {
	if err := unix.PidfdSendSignal(int(file.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	return nil
}

// Open returns a pidfd of the process, or nil if it has ended. It never stands for a process that got the pid meanwhile.
func (p Process) Open() (*os.File, error) {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	if !p.Alive() {
		return nil, file.Close()
	}
	return file, nil
}

// Alive tells whether the process has not ended; a zombie has. It is asked so often in the life of a sandbox that it reads two fields only.
func (p Process) Alive() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // behind its name, which may have anything in it
	if err != nil || len(fields) < 20 || string(fields[0]) == "Z" {
		return false
	}
	started, err := strconv.ParseUint(string(fields[19]), 10, 64)
	return err == nil && started == p.started
}

// Await waits until the process has ended; a zombie has.
func (p Process) Await(ctx context.Context) error {
	file, err := p.Open()
	if err != nil || file == nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return p.await(ctx, file)
}

// await waits until the process has ended that a pidfd is of.
func (p Process) await(ctx context.Context, file *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Now()) })
	defer stop()
	conn, err := file.SyscallConn()
	if err == nil {
		err = conn.Read(isReadable) // a pidfd is readable when its process has ended
	}
	if err != nil {
		return fmt.Errorf("process %d does not end: %w", p.PID, errors.Join(context.Cause(ctx), err))
	}
	return nil
}

func isReadable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) //nolint:gosec // the kernel's own number
	return err == nil && n > 0
}

// Exit returns how the process of a pidfd ended, which the kernel knows once it was reaped, or nil if that is not known in time
// or never: kernels before 6.15 do not tell.
func Exit(pidfd *os.File, patience time.Duration) *unix.WaitStatus {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		err := unix.IoctlPidfdInfo(int(pidfd.Fd()), &info)
		if err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			status := unix.WaitStatus(info.Exit_code) //nolint:gosec // the bits of waitpid(2)
			return &status
		}
		unknown := errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL)
		if unknown || wait.Sleep(ctx, wait.Interval/4) != nil {
			return nil
		}
	}
}
