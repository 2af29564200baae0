package nic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// marker is at the end of every frame that is made by hand, before its number of four digits.
var marker = []byte("sandpool made this frame by hand: ")

// end is that of a frame without a number.
var end = append(bytes.Clone(marker), "0000"...)

// frame is one that begins behind the addresses of hardware.
func frame(kind uint16, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(append(bytes.Clone(gatewayMAC), guestMAC...), kind), append(data, end...)...)
}

// packet is one of IPv4, whose header has options, and which is the part of a longer one that begins at an offset in units of 8 bytes.
func packet(from, to string, protocol byte, fragment uint16, options, data []byte) []byte {
	header := []byte{0x45 + byte(len(options)/4), 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0}
	binary.BigEndian.PutUint16(header[2:], uint16(20+len(options)+len(data)+len(end)))
	binary.BigEndian.PutUint16(header[6:], fragment)
	header = append(append(header, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	header = append(header, options...)
	binary.BigEndian.PutUint16(header[checksumOffset:], checksum(header))
	return frame(unix.ETH_P_IP, append(header, data...))
}

// packet6 is one of IPv6.
func packet6(from, to string, protocol byte, data []byte) []byte {
	header := []byte{0x60, 0, 0, 0, 0, byte(len(data) + len(marker)), protocol, 255}
	header = append(append(header, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	return frame(unix.ETH_P_IPV6, append(header, data...))
}

// What begins a connection, and what asks for an answer, without checksums.
var (
	datagram = []byte{0x99, 0x99, 0, 80, 0, byte(8 + len(end)), 0, 0}
	syn      = []byte{0x99, 0x99, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 2, 0, 0xff, 0, 0, 0, 0}
	echo     = []byte{8, 0, 0, 0, 0, 1, 0, 1}
)

// arp claims an address for the sandbox, or asks for it.
func arp(operation byte, claimed, asked string) []byte {
	data := append([]byte{0, 1, 8, 0, 6, 4, 0, operation}, guestMAC...)
	data = append(append(data, netip.MustParseAddr(claimed).AsSlice()...), make([]byte, 6)...)
	return frame(unix.ETH_P_ARP, append(data, netip.MustParseAddr(asked).AsSlice()...))
}

// hostileFrames are frames of which none may arrive anywhere.
func hostileFrames(own, other string) map[string][]byte {
	all := map[string][]byte{}
	begins := map[byte][]byte{udp: datagram, tcp: syn, icmp: echo}
	guest := guest.String()
	for protocol, data := range begins {
		for _, from := range []string{"192.0.2.1", "192.0.2.2", "10.7.7.7", "127.0.0.1", "10.200.0.1", "10.200.0.3", "0.0.0.0", "255.255.255.255", "224.0.0.1", outsideIP, own, other} {
			all[fmt.Sprint("from ", from, " by ", protocol)] = packet(from, outsideIP, protocol, 0, nil, data)
		}
		for _, to := range []string{"10.200.0.1", "10.200.0.3", "192.0.2.1", "192.0.2.255", "10.7.7.7", "127.0.0.9", "169.254.169.254", "172.16.3.3", "10.20.0.5", "224.0.0.1", "255.255.255.255", "0.0.0.0", own, other} {
			all[fmt.Sprint("to ", to, " by ", protocol)] = packet(guest, to, protocol, 0, nil, data)
		}
		all[fmt.Sprint("a first part by ", protocol)] = packet(guest, "10.20.0.5", protocol, 0x2000, nil, data)
		all[fmt.Sprint("a later part by ", protocol)] = packet(guest, "10.20.0.5", protocol, 1, nil, data)
		route := append([]byte{0x83, 7, 4}, append(netip.MustParseAddr("10.20.0.5").AsSlice(), 0)...) // of the source's choice
		all[fmt.Sprint("by way of the host by ", protocol)] = packet(guest, "10.7.7.7", protocol, 0, route, data)
		for vlan := range byte(2) {
			tagged := append([]byte{0, vlan, 8, 0}, packet(guest, "10.20.0.5", protocol, 0, nil, data)[14:]...)
			all[fmt.Sprint("with the tag ", vlan, " by ", protocol)] = frame(unix.ETH_P_8021Q, tagged)
		}
	}
	for _, protocol := range []byte{0, 2, 4, 41, 47, 50, 51, 89, 103, 112, 132, 136, 253, 255} {
		for _, to := range []string{outsideIP, "10.7.7.7"} {
			all[fmt.Sprint("to ", to, " by protocol ", protocol)] = packet(guest, to, protocol, 0, nil, packet(guest, "10.20.0.5", udp, 0, nil, datagram)[14:])
		}
	}
	for kind, data := range map[string][]byte{"echo": echo, "a redirect": {5, 1, 0, 0, 192, 0, 2, 2}, "a time": {13, 0, 0, 0, 0, 1, 0, 1}, "an answer": {0, 0, 0, 0, 0, 1, 0, 1}} {
		all["ICMP, "+kind] = packet(guest, outsideIP, icmp, 0, nil, data)
	}
	all["TCP that begins nothing"] = packet(guest, outsideIP, tcp, 0, nil, append(append(bytes.Clone(syn[:13]), 3), syn[14:]...))
	for _, to := range []string{"ff02::1", "fe80::1", "2001:db8::1", "64:ff9b::a14:5", "::ffff:10.20.0.5"} {
		all["IPv6 to "+to] = packet6("fe80::2", to, udp, datagram)
		all["a router of IPv6, to "+to] = packet6("fe80::2", to, unix.IPPROTO_ICMPV6, []byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	for _, claimed := range []string{"192.0.2.2", "192.0.2.1", "10.200.0.1", other} {
		all["ARP, asks as "+claimed] = arp(1, claimed, "10.200.0.1")
		all["ARP, claims "+claimed] = arp(2, claimed, claimed)
	}
	for _, kind := range []uint16{unix.ETH_P_MPLS_UC, unix.ETH_P_PPP_SES, unix.ETH_P_PAE, unix.ETH_P_LLDP, 4} {
		all[fmt.Sprintf("frames of kind %x", kind)] = frame(kind, nil)
	}
	return all
}

// ears are sockets that hear what has come to, or leaves by, some place.
type ears map[string]int

func (e ears) listen(t *testing.T, name string, ns *os.File, family, kind, protocol int, device string) {
	t.Helper()
	inside(t, ns, func() error {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		e[name] = fd
		if device == "" {
			return nil
		}
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: link.Attrs().Index}) // all protocols, in the order of the network
	})
}

// heard returns which frames were heard where.
func (e ears) heard(t *testing.T) (found []string) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for name, fd := range e {
		for {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if i := bytes.LastIndex(buf[:n], marker) + len(marker); i >= len(marker) && i+4 <= n {
				found = append(found, string(buf[i:i+4])+" at "+name)
			}
		}
	}
	return found
}

// Whoever can send any frame by an interface, as one could who is out of the sandbox's kernel, reaches nothing but what the rules allow.
func TestFramesMadeByHand(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	sandbox, other := w.make(t, h, one1), w.make(t, h, two2)
	inside(t, w.host, func() error {
		// Without checksums a packet is tracked as any other.
		return errors.Join(os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_checksum", []byte("0"), 0o600), h.Apply(one1, rulesOf(t, []string{"*:80"}, nil)))
	})
	all := ears{}
	all.listen(t, "the outside", w.outside, unix.AF_PACKET, unix.SOCK_RAW, 0, "down")
	all.listen(t, "another sandbox", other, unix.AF_PACKET, unix.SOCK_RAW, 0, guestDevice)
	for _, protocol := range []int{udp, tcp, icmp, 2, 4, 41, 47, 50, 51, 89, 103, 112, 132, 136, 253} {
		all.listen(t, fmt.Sprint("the host by protocol ", protocol), w.host, unix.AF_INET, unix.SOCK_RAW, protocol, "")
	}
	for _, protocol := range []int{udp, unix.IPPROTO_ICMPV6} {
		all.listen(t, fmt.Sprint("the host by IPv6 and protocol ", protocol), w.host, unix.AF_INET6, unix.SOCK_RAW, protocol, "")
	}
	send := sender(t, sandbox)
	behind := func() { // the others, by the same way
		t.Helper()
		if heard, err := ask(sandbox, "udp", outsideIP+":80"); err != nil || heard == "" {
			t.Fatal(heard, err)
		}
	}
	for protocol, data := range map[byte][]byte{udp: datagram, tcp: syn} {
		send(packet(guest.String(), outsideIP, protocol, 0, nil, data))
		behind()
		if found := all.heard(t); !slices.Equal(found, []string{"0000 at the outside"}) {
			t.Fatalf("what is allowed by %d was heard: %q", protocol, found)
		}
	}
	neighbours := neighboursOf(t, w)
	hostile := hostileFrames(h.slots[one1].address().String(), h.slots[two2].address().String())
	names := slices.Sorted(maps.Keys(hostile))
	for i, name := range names {
		data := hostile[name]
		copy(data[len(data)-4:], fmt.Sprintf("%04d", i))
		send(data)
		copy(data, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		send(data)
	}
	behind()
	for _, found := range all.heard(t) {
		number, place, _ := strings.Cut(found, " at ")
		i, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(found, err)
		}
		t.Errorf("%q was heard at %s", names[i], place)
	}
	if now := neighboursOf(t, w); now != neighbours {
		t.Errorf("neighbours were %s\nand are %s", neighbours, now)
	}
	t.Logf("%d frames, twice each", len(names))
	inside(t, w.host, func() error { return errors.Join(h.Remove(one1), h.Remove(two2)) })
	nothingIsLeft(t, w)
}

// sender sends frames by a sandbox's interface.
func sender(t *testing.T, sandbox *os.File) (send func([]byte)) {
	t.Helper()
	inside(t, sandbox, func() error {
		link, err := netlink.LinkByName(guestDevice)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		t.Cleanup(func() { _ = unix.Close(fd) })
		send = func(data []byte) {
			if err := unix.Sendto(fd, data, 0, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Halen: 6}); err != nil {
				t.Fatal(err)
			}
		}
		return err
	})
	return send
}

// neighboursOf are the hardware addresses of who is beside the host, and its routes by IPv6.
func neighboursOf(t *testing.T, w *world) (text string) {
	t.Helper()
	inside(t, w.host, func() error {
		list, err := netlink.NeighList(0, netlink.FAMILY_V4)
		for _, n := range list {
			text += fmt.Sprintf("%s is at %s\n", n.IP, n.HardwareAddr)
		}
		routes, routesErr := netlink.RouteList(nil, netlink.FAMILY_V6)
		for _, r := range routes {
			if r.Gw != nil {
				text += fmt.Sprintf("%s by %s\n", r.Dst, r.Gw)
			}
		}
		return errors.Join(err, routesErr)
	})
	return text
}
