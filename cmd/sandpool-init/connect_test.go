package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hold binds a port of both loopback addresses, of IPv4 and of IPv6: nobody listens there, and no other program can take it.
func hold(t *testing.T) (port int, sockets [2]*os.File) {
	t.Helper()
	for {
		v4 := bind(t, unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		name, err := unix.Getsockname(int(v4.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		port := name.(*unix.SockaddrInet4).Port
		if v6 := bind(t, unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}); v6 != nil {
			return port, [2]*os.File{v4, v6}
		}
	}
}

// bind returns a socket with the address, or nil if another has it. The test's end closes it.
func bind(t *testing.T, family int, address unix.Sockaddr) *os.File {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), "loopback")
	t.Cleanup(func() { _ = socket.Close() })
	if err := unix.Bind(fd, address); errors.Is(err, unix.EADDRINUSE) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	return socket
}

// TestConnect has a server of each address family answer what it was sent, once that has ended.
func TestConnect(t *testing.T) {
	for i, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) {
			port, sockets := hold(t)
			if err := unix.Listen(int(sockets[i].Fd()), 1); err != nil {
				t.Fatal(err)
			}
			listener, err := net.FileListener(sockets[i])
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				sent, _ := io.ReadAll(conn)
				_, _ = conn.Write(bytes.ToUpper(sent))
			}()
			sent := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16) // 1 MiB, more than any buffer on the way holds
			cmd := exec.CommandContext(t.Context(), program, "connect", strconv.Itoa(port))
			cmd.Stdin = bytes.NewReader(sent)
			got, err := cmd.Output()
			if err != nil || !bytes.Equal(got, bytes.ToUpper(sent)) {
				t.Errorf("%v; %d of %d bytes came back", err, len(got), len(sent))
			}
		})
	}
}

func TestConnectToNobody(t *testing.T) {
	number, _ := hold(t)
	port := strconv.Itoa(number)
	cmd := exec.CommandContext(t.Context(), program, "connect", port)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(out), "connect to port "+port+": connection refused") {
		t.Errorf("%v: %s", err, out)
	}
}
