package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"sandpool/runtime/egress"
	"sandpool/runtime/hostproc"
)

const (
	one1, two2 = "sb-aaaaaaaaaaaaaaaa", "sb-bbbbbbbbbbbbbbbb"
	outsideIP  = "203.0.113.9"
	patience   = 2 * time.Minute
)

// inside runs a function on a thread in a network namespace.
func inside(t *testing.T, ns *os.File, do func() error) {
	t.Helper()
	if err := hostproc.InNetwork(ns, do); err != nil {
		t.Fatal(err)
	}
}

// world is a host, and an outside that has the hosts of others.
type world struct{ host, outside *os.File }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	for _, ns := range []**os.File{&w.host, &w.outside} {
		made, err := hostproc.NewNetwork()
		if err != nil {
			t.Fatal(err)
		}
		*ns = made
		t.Cleanup(func() { _ = made.Close() })
	}
	inside(t, w.host, func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up"}, PeerName: "down", PeerNamespace: netlink.NsFd(int(w.outside.Fd()))}
		if err := errors.Join(
			netlink.LinkAdd(pair), os.WriteFile(forwarding, []byte("1"), 0o600),
			os.WriteFile("/proc/sys/net/ipv4/icmp_ratelimit", []byte("0"), 0o600), // refusals of UDP would be few
		); err != nil {
			return err
		}
		if err := address("up", "192.0.2.1/24", "10.7.7.7/32"); err != nil {
			return err
		}
		return serve(t, "10.7.7.7:80", "192.0.2.1:80") // what is refused is so by a rule
	})
	inside(t, w.outside, func() error {
		if err := address("down", "192.0.2.2/24", outsideIP+"/32", "10.20.0.5/32", "169.254.169.254/32", "172.16.3.3/32"); err != nil {
			return err
		}
		return serve(t, outsideIP+":80", outsideIP+":81", "10.20.0.5:80", "10.20.0.5:81") // answers by UDP come from where was asked
	})
	inside(t, w.host, func() error {
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: up.Attrs().Index, Gw: net.ParseIP("192.0.2.2")})
	})
	return w
}

// make makes the interface of a sandbox, and returns its namespace.
func (w *world) make(t *testing.T, h *Host, id string) (ns *os.File) {
	t.Helper()
	inside(t, w.host, func() error {
		path, err := h.Make(id)
		if err != nil {
			return err
		}
		ns, err = os.Open(path)
		return err
	})
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// received is how many packets have come to an interface.
func received(t *testing.T, ns *os.File, device string) (n uint64) {
	t.Helper()
	inside(t, ns, func() error {
		link, err := netlink.LinkByName(device)
		if err == nil {
			n = link.Attrs().Statistics.RxPackets
		}
		return err
	})
	return n
}

// address brings an interface and loopback up.
func address(device string, list ...string) error {
	for name, prefixes := range map[string][]string{"lo": nil, device: list} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		for _, text := range prefixes {
			addr, err := netlink.ParseAddr(text)
			if err == nil {
				err = netlink.AddrAdd(link, addr)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
		}
	}
	return nil
}

// serve answers by TCP and UDP, at some addresses, with the address that the client has there.
func serve(t *testing.T, all ...string) error {
	for _, at := range all {
		ln, err := net.Listen("tcp4", at)
		if err != nil {
			return err
		}
		packets, err := net.ListenPacket("udp4", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _, _ = ln.Close(), packets.Close() })
		go func() {
			for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
				_, _ = fmt.Fprintln(conn, conn.RemoteAddr())
				_ = conn.Close()
			}
		}()
		go func() {
			buf := make([]byte, 2048)
			for {
				_, from, err := packets.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = packets.WriteTo([]byte(from.String()), from)
			}
		}()
	}
	return nil
}

// ask asks a server from a namespace, and returns what the client is called there or why it heard nothing.
func ask(ns *os.File, protocol, to string) (heard string, err error) {
	err = hostproc.InNetwork(ns, func() error {
		conn, err := (&net.Dialer{Timeout: patience}).Dial(protocol, to)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // only read from
		buf := make([]byte, 256)
		for end := time.Now().Add(patience); ; {
			if protocol == "udp" { // again, since what refuses it is let through by the kernel a few times a second
				if _, err := conn.Write([]byte("?")); err != nil {
					return err
				}
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			} else {
				_ = conn.SetReadDeadline(end)
			}
			n, err := conn.Read(buf)
			if heard = string(buf[:n]); !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
				return err
			}
		}
	})
	return heard, err
}

func rulesOf(t *testing.T, allow, deny []string, more ...egress.Policy) *egress.Rules {
	t.Helper()
	r, err := egress.Compile(append(egress.Layers{{Mode: egress.NIC, Allow: allow, Deny: deny}}, more...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// icmpErrors is how often a namespace was told that something cannot be reached.
func icmpErrors(t *testing.T, ns *os.File) (n string) {
	t.Helper()
	inside(t, ns, func() error {
		data, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var columns []string
		for text := range strings.Lines(string(data)) {
			fields := strings.Fields(text)
			if fields[0] != "Icmp:" {
				continue
			}
			if columns == nil {
				columns = fields
				continue
			}
			n = fields[slices.Index(columns, "InDestUnreachs")]
		}
		return nil
	})
	return n
}

// denounce tells a server by UDP that one of its clients cannot be reached.
func denounce(server string, port int, client netip.AddrPort) error {
	conn, err := net.Dial("ip4:icmp", server)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // only written to
	quoted := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, udp, 0, 0}
	quoted = append(quoted, net.ParseIP(server).To4()...)
	quoted = append(quoted, client.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(quoted[checksumOffset:], checksum(quoted))
	quoted = binary.BigEndian.AppendUint16(quoted, uint16(port))
	quoted = binary.BigEndian.AppendUint16(quoted, client.Port())
	quoted = append(quoted, 0, 8, 0, 0)
	message := append([]byte{icmpUnreachable, portUnreachable, 0, 0, 0, 0, 0, 0}, quoted...)
	binary.BigEndian.PutUint16(message[icmpChecksumOffset:], checksum(message))
	_, err = conn.Write(message)
	return err
}

func checksum(data []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(data[i])<<8 | uint32(data[i+1])
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum + sum>>16)
}
