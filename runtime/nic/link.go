package nic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// What every sandbox has inside: its interface, its address, and the host's, which answers for all that is outside.
var (
	guest   = netip.MustParseAddr("10.200.0.2")
	gateway = netip.MustParseAddr("10.200.0.1")
	network = net.IPNet{IP: guest.AsSlice(), Mask: net.CIDRMask(30, 32)}

	guestMAC   = net.HardwareAddr{0x02, 0x73, 0x70, 0, 0, 2}
	gatewayMAC = net.HardwareAddr{0x02, 0x73, 0x70, 0, 0, 1}
)

const (
	guestDevice   = "eth0"
	noIPv6Address = 1 // IN6_ADDR_GEN_MODE_NONE
)

// addPair makes a pair of interfaces, one on the host, and the other in a namespace with all that a sandbox finds there. The host's is down.
// Neighbours are fixed: nobody asks for addresses by broadcasts, and nobody can answer wrongly.
func addPair(device string, ns *os.File) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = device, gatewayMAC
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: guestDevice, PeerHardwareAddr: guestMAC, PeerNamespace: netlink.NsFd(int(ns.Fd()))}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add interface %s: %w", device, err)
	}
	inside, err := netlink.NewHandleAt(netns.NsHandle(int(ns.Fd())), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter the namespace of %s: %w", device, err)
	}
	defer inside.Close()
	if err := furnish(inside); err != nil {
		return fmt.Errorf("furnish the namespace of %s: %w", device, err)
	}
	return nil
}

func furnish(inside *netlink.Handle) error {
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := inside.LinkSetUp(lo); err != nil { // runsc gives no loopback to a sandbox whose namespace has none
		return err
	}
	own, err := inside.LinkByName(guestDevice)
	if err != nil {
		return err
	}
	_ = inside.LinkSetIP6AddrGenMode(own, noIPv6Address) // a kernel without IPv6 has none to give
	index := own.Attrs().Index
	return inOrder(
		func() error { return inside.AddrAdd(own, &netlink.Addr{IPNet: &network}) },
		func() error { return inside.LinkSetUp(own) },
		func() error { return inside.NeighAdd(permanent(index, gateway, gatewayMAC)) },
		func() error { return inside.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.AsSlice()}) },
	)
}

// raise brings the host's side up. Whoever adds the route to an address has that; EEXIST says that it is another's.
func raise(device string, s slot) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", device, err)
	}
	_ = netlink.LinkSetIP6AddrGenMode(link, noIPv6Address) // as above
	index, addr := link.Attrs().Index, s.address()
	err = inOrder(
		func() error { return netlink.LinkSetUp(link) },
		func() error { return netlink.NeighAdd(permanent(index, addr, guestMAC)) },
		func() error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: host(addr)})
		},
	)
	if err != nil {
		return fmt.Errorf("raise interface %s: %w", device, err)
	}
	return nil
}

func inOrder(steps ...func() error) error {
	for _, do := range steps {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func permanent(index int, addr netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac}
}

func host(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

// deleteLink removes an interface of the host, and the one at its other end. One that is gone is no error.
func deleteLink(device string) error {
	link, err := netlink.LinkByName(device)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete interface %s: %w", device, err)
	}
	return nil
}

// routed are the addresses of sandboxes that lead anywhere, of all daemons of this host.
func routed() (map[netip.Addr]bool, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // some changed meanwhile; a route that is added twice is an error
		return nil, fmt.Errorf("list routes: %w", err)
	}
	taken := map[netip.Addr]bool{}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if addr, ok := netip.AddrFromSlice(r.Dst.IP); ok && reserved.Contains(addr.Unmap()) {
			taken[addr.Unmap()] = true
		}
	}
	return taken, nil
}

// forgetConnections has the kernel forget what a sandbox with an address was connected to.
func forgetConnections(addr netip.Addr) error {
	filter := &netlink.ConntrackFilter{}
	if err := filter.AddIPNet(netlink.ConntrackOrigSrcIP, host(addr)); err != nil {
		return err
	}
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.FAMILY_V4, filter); err != nil {
		return fmt.Errorf("forget connections of %s: %w", addr, err)
	}
	return nil
}
