package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// reach tries to reach addresses by each way that knows no names, and prints what came of it: one line each that begins with "reached",
// "refused", or "late" where it was sent and nobody answered.
func reach(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("want a port and addresses")
	}
	port, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil {
		return err
	}
	for _, text := range args[1:] {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		to := netip.AddrPortFrom(address, uint16(port))
		for way, try := range ways {
			err := try(ctx, to)
			var late interface{ Timeout() bool }
			switch {
			case err == nil:
				fmt.Printf("reached %s by %s\n", to, way)
			case errors.As(err, &late) && late.Timeout():
				fmt.Printf("late %s by %s: %v\n", to, way, err)
			default:
				fmt.Printf("refused %s by %s: %v\n", to, way, err)
			}
		}
	}
	return nil
}

// ways are by TCP, by UDP, and by packets that are made by hand.
var ways = map[string]func(context.Context, netip.AddrPort) error{
	"TCP": func(ctx context.Context, to netip.AddrPort) error { return exchange(ctx, "tcp", to) },
	"UDP": func(ctx context.Context, to netip.AddrPort) error { return exchange(ctx, "udp", to) },
	"ICMP": func(_ context.Context, to netip.AddrPort) error {
		return send(unix.SOCK_RAW, icmp(to.Addr()), to, echoRequest)
	},
	"ping": func(_ context.Context, to netip.AddrPort) error {
		return send(unix.SOCK_DGRAM, icmp(to.Addr()), to, echoRequest)
	},
	"raw": func(_ context.Context, to netip.AddrPort) error {
		return send(unix.SOCK_RAW, unix.IPPROTO_UDP, to, make([]byte, 16))
	},
	"link": linkLayer,
}

// echoRequest is an ICMP message that asks for an answer.
var echoRequest = []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}

func icmp(to netip.Addr) int {
	if to.Is6() {
		return unix.IPPROTO_ICMPV6
	}
	return unix.IPPROTO_ICMP
}

// exchange says something and waits for an answer: sending by UDP alone proves nothing.
func exchange(ctx context.Context, network string, to netip.AddrPort) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, network, to.String())
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // only the answer counts
	if network == "tcp" {
		return nil // somebody has answered
	}
	if _, err := conn.Write(make([]byte, 12)); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	_, err = conn.Read(make([]byte, 512))
	return err
}

// send sends a packet by a socket of a kind, and waits for one.
func send(kind, protocol int, to netip.AddrPort, packet []byte) error {
	family, at := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port()), Addr: [4]byte(to.Addr().AsSlice()[:4])})
	if to.Addr().Is6() {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // only the answer counts
	if err := unix.Sendto(fd, packet, 0, at); err != nil {
		return err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return err
	}
	_, _, err = unix.Recvfrom(fd, make([]byte, 512), 0)
	return err
}

// linkLayer sends a frame by every interface but the loopback, of which there should be none.
func linkLayer(context.Context, netip.AddrPort) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, each := range all {
		if each.Flags&net.FlagLoopback != 0 {
			continue
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Sendto(fd, make([]byte, 64), 0, &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: each.Index, Halen: 6})
		_ = unix.Close(fd)
		if err == nil {
			return nil
		}
	}
	return errors.New("no interface but the loopback")
}
