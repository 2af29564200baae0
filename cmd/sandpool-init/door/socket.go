package door

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// backlog is how many connections the kernel keeps for a listener.
const backlog = 128

// dialTime is how long a port of the sandbox's own may take to answer: its queue may be full.
const dialTime = 10 * time.Second

// pauseTime is waited for when there is something short, as files may be.
const pauseTime = 10 * time.Millisecond

// socket is a connection in the sandbox.
type socket struct{ *os.File }

// newSocket takes over a socket that does not block.
func newSocket(fd int) *socket {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return &socket{os.NewFile(uintptr(fd), "socket")}
}

// do calls f with the socket, and returns its error.
func (s *socket) do(f func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = f(int(fd)) })
	return errors.Join(failed, err)
}

func (s *socket) CloseWrite() error {
	return s.do(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

func (s *socket) SetLinger(seconds int) error {
	return s.do(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(seconds)}) //nolint:gosec // 0
	})
}

// reset closes the connection such that its client has an error.
func (s *socket) reset() { _, _ = s.SetLinger(0), s.Close() }

// loopback is a port of 127.0.0.1.
func loopback(port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

// bind makes a socket of an address. Its port is free for others on other addresses.
func bind(kind int, at *unix.SockaddrInet4) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, at)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("bind %d.%d.%d.%d:%d: %w", at.Addr[0], at.Addr[1], at.Addr[2], at.Addr[3], at.Port, err)
	}
	return fd, nil
}

// listen has each connection to an address served on a goroutine of its own, until the listener that it returns is closed.
func listen(at *unix.SockaddrInet4, serve func(*socket)) (*os.File, error) {
	fd, err := bind(unix.SOCK_STREAM, at)
	if err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := os.NewFile(uintptr(fd), "listener")
	go func() {
		for {
			c, err := accept(l)
			switch {
			case err == nil:
				go serve(c)
			case errors.Is(err, os.ErrClosed):
				return
			default:
				time.Sleep(pauseTime) // it may be short of files
			}
		}
	}()
	return l, nil
}

func accept(l *os.File) (c *socket, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	waiting := raw.Read(func(fd uintptr) bool {
		var client int
		client, _, err = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == nil {
			c = newSocket(client)
		}
		return !errors.Is(err, unix.EAGAIN)
	})
	if waiting != nil { // there is no deadline
		return nil, os.ErrClosed
	}
	return c, err
}

// dial connects to a port of the sandbox's own, by IPv4 or IPv6.
func dial(port int) (*socket, error) {
	c, err := dialAt(unix.AF_INET, loopback(port))
	if err != nil {
		var second error
		if c, second = dialAt(unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}); second == nil {
			return c, nil
		}
	}
	return c, err
}

func dialAt(family int, to unix.Sockaddr) (*socket, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	err = unix.Connect(fd, to)
	c := newSocket(fd)
	if errors.Is(err, unix.EINPROGRESS) {
		err = c.awaitConnected()
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (s *socket) awaitConnected() error {
	if err := s.SetWriteDeadline(time.Now().Add(dialTime)); err != nil {
		return err
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	waiting := raw.Write(func(fd uintptr) bool {
		var code int
		if code, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err != nil {
			return true
		}
		_, unconnected := unix.Getpeername(int(fd))
		return unconnected == nil
	})
	return errors.Join(waiting, err, s.SetWriteDeadline(time.Time{}))
}
