package hostproc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Peer is the process that listens on a unix socket.
type Peer struct {
	PID    int
	Socket string // as that process names it
}

// PeerOf returns the process that listens on a unix socket. That there is none is an error of class Unavailable.
func PeerOf(ctx context.Context, socket string) (Peer, error) {
	conn, err := (&net.Dialer{}).DialUnix(ctx, "unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return Peer{}, fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
	}
	defer func() { _ = conn.Close() }()
	cred, err := Credentials(conn)
	if err != nil {
		return Peer{}, err
	}
	return Peer{PID: int(cred.Pid), Socket: conn.RemoteAddr().String()}, nil
}

// Credentials returns who has the other end of a unix socket's connection, as the kernel knows it.
func Credentials(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return nil, fmt.Errorf("get peer credentials: %w", err)
	}
	return cred, nil
}

// Root is the root folder that a process sees, which may have a mount namespace of its own.
func Root(pid int) string { return fmt.Sprintf("/proc/%d/root", pid) }

// Unmount detaches all that is mounted on path in the mount namespace of a process. That nothing is there is no error.
func Unmount(pid int, path string) error {
	err := OnThread(func() error {
		err := enterMounts(pid)
		for err == nil {
			err = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
		return err
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // no mount, or no such folder
		return nil
	}
	return err
}

// enterMounts puts the calling thread into the mount namespace of a process.
func enterMounts(pid int) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // what shares its working folder may not change namespaces
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return nil
}
