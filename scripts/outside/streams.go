package outside

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// accept serves each connection until its client or its server ends it.
func (w *World) accept(ln net.Listener, serve func(net.Conn) error) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		conns.Go(func() {
			defer conn.Close() //nolint:errcheck // the client sees the end
			_ = serve(conn)    // whose error is the client's matter
		})
	}
}

// serveStreams is for a thread in the network.
func (w *World) serveStreams() error {
	shell, err := serveShell()
	if err != nil {
		return err
	}
	for name, serve := range map[string]func(net.Conn) error{
		fmt.Sprint(hosts[Echo], ":", EchoPort):   echo,
		fmt.Sprint(hosts[Mail], ":", MailPort):   greet,
		fmt.Sprint(hosts[Base], ":", BasePort):   answerQueries,
		fmt.Sprint(hosts[Shell], ":", ShellPort): shell,
	} {
		ln, err := w.listen(name)
		if err != nil {
			return err
		}
		w.servers.Go(func() { w.accept(ln, serve) })
	}
	return w.keepSilent()
}

func echo(conn net.Conn) error {
	_, err := io.Copy(conn, conn)
	return err
}

// greet speaks first, as servers of mail do, and counts what it is told.
func greet(conn net.Conn) error {
	if _, err := fmt.Fprintf(conn, "220 %s\r\n", Mail); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "250 %d bytes\r\n", len(line))
	return err
}

// keepSilent has a port whose queue is full, so that nothing answers who connects.
func (w *World) keepSilent() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	w.owned(func() error { return unix.Close(fd) })
	at := netip.MustParseAddr(hosts[Silent])
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: SilentPort, Addr: at.As4()}); err != nil {
		return err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", netip.AddrPortFrom(at, SilentPort).String()) //nolint:noctx // there is room for one
	if err != nil {
		return err
	}
	w.owned(conn.Close)
	return nil
}

// Messages of PostgreSQL's protocol, version 3.
const (
	wantsTLS    = 80877103
	wantsGSSAPI = 80877104
	mostBytes   = 64 << 10
)

// answerQueries speaks enough of PostgreSQL's protocol for psql: every query has the one row "good day".
func answerQueries(conn net.Conn) error {
	for {
		body, err := message(conn)
		if err != nil || len(body) < 4 {
			return err
		}
		if code := binary.BigEndian.Uint32(body); code != wantsTLS && code != wantsGSSAPI {
			break
		}
		if _, err := conn.Write([]byte{'N'}); err != nil {
			return err
		}
	}
	hello := reply('R', 0, 0, 0, 0)
	hello = append(hello, reply('S', []byte("server_version\x0015.0\x00")...)...)
	hello = append(hello, reply('S', []byte("client_encoding\x00UTF8\x00")...)...)
	if _, err := conn.Write(append(hello, reply('Z', 'I')...)); err != nil {
		return err
	}
	for {
		var kind [1]byte
		if _, err := io.ReadFull(conn, kind[:]); err != nil {
			return err
		}
		if _, err := message(conn); err != nil || kind[0] != 'Q' {
			return err
		}
		column := append([]byte("\x00\x01word\x00"), 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0) // of type text
		row := reply('T', column...)
		row = append(row, reply('D', append([]byte{0, 1, 0, 0, 0, 8}, "good day"...)...)...)
		row = append(row, reply('C', []byte("SELECT 1\x00")...)...)
		if _, err := conn.Write(append(row, reply('Z', 'I')...)); err != nil {
			return err
		}
	}
}

// message reads the length of a message, which counts itself, and its body.
func message(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size < 4 || size > mostBytes {
		return nil, errors.New("a message of a length that is none")
	}
	body := make([]byte, size-4)
	_, err := io.ReadFull(r, body)
	return body, err
}

func reply(kind byte, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...) //nolint:gosec // it is short
}
