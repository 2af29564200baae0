package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"sandpool/runtime/egress"
)

// proxy asks the sandbox's proxy for targets, HOST:PORT as they are, by each way that it knows, and prints what came of it: one line each that begins
// with "reached" or "refused".
func proxy(ctx context.Context, targets []string) error {
	for _, target := range targets {
		for way, try := range map[string]func(net.Conn, string) error{"CONNECT": tunnel, "GET": absolute, "SOCKS": socks} {
			err := proxied(ctx, func(conn net.Conn) error { return try(conn, target) })
			if err == nil {
				fmt.Printf("reached %s by %s\n", target, way)
			} else {
				fmt.Printf("refused %s by %s: %v\n", target, way, err)
			}
		}
	}
	return nil
}

// proxied has a function talk to the proxy.
func proxied(ctx context.Context, talk func(net.Conn) error) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", egress.ProxyAddress)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all was read
	_ = conn.SetDeadline(time.Now().Add(patience))
	return talk(conn)
}

// raw sends what it reads to the proxy as it is, and prints what comes back.
func raw(ctx context.Context, _ []string) error {
	return proxied(ctx, func(conn net.Conn) error {
		if _, err := io.Copy(conn, os.Stdin); err != nil {
			return err
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		_, err := io.Copy(os.Stdout, conn)
		return err
	})
}

func tunnel(conn net.Conn, target string) error {
	return request(conn, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n")
}

func absolute(conn net.Conn, target string) error {
	return request(conn, "GET http://"+target+"/ HTTP/1.1\r\nHost: "+target+"\r\nConnection: close\r\n\r\n")
}

// request says it and takes an answer with success for having reached the target.
func request(conn net.Conn, text string) error {
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if strings.HasPrefix(line, "HTTP/1.1 2") || strings.HasPrefix(line, "HTTP/1.0 2") {
		return nil
	}
	return errors.New(strings.TrimSpace(line))
}

// socks asks for an address as one, and for all else as a name.
func socks(conn net.Conn, target string) error {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(host) > 255 {
		return fmt.Errorf("not for SOCKS: %w", err)
	}
	ask := []byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))} //nolint:gosec // it is at most 255
	if address, err := netip.ParseAddr(host); err == nil && address.Zone() == "" {
		ask, host = []byte{5, 1, 0, 5, 1, 0, 1}, string(address.AsSlice())
		if address.Is6() {
			ask[6] = 4
		}
	}
	ask = binary.BigEndian.AppendUint16(append(ask, host...), uint16(number))
	if _, err := conn.Write(ask); err != nil {
		return err
	}
	answer := make([]byte, 4) // to the greeting, and the begin of that to the request
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if answer[3] != 0 {
		return fmt.Errorf("code %d", answer[3])
	}
	return nil
}

// front begins TLS with an address and says another name there.
func front(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("want HOST:PORT and a name")
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{ServerName: args[1], InsecureSkipVerify: true}} //nolint:gosec // an answer is enough
	conn, err := dialer.DialContext(ctx, "tcp", args[0])
	if err != nil {
		fmt.Printf("refused %s as %s: %v\n", args[0], args[1], err)
		return nil
	}
	fmt.Printf("reached %s as %s\n", args[0], args[1])
	return conn.Close()
}
