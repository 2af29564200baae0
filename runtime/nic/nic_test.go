package nic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/runtime/egress"
	"sandpool/runtime/hostproc"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A namespace with a kernel's network stack in it stands for a sandbox.
func TestInterfaces(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	guests := map[string]*os.File{}
	for _, id := range []string{one1, two2} {
		guests[id] = w.make(t, h, id)
	}
	h.mu.Lock() // rules of others are being changed
	if err := h.Remove("sb-cccccccccccccccc"); err != nil {
		t.Error(err)
	}
	if err := h.Apply("sb-cccccccccccccccc", rulesOf(t, nil, nil)); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	h.mu.Unlock()
	sandbox := guests[one1]
	refused := func(to ...string) {
		t.Helper()
		for _, to := range to {
			for _, protocol := range []string{"tcp", "udp"} {
				if heard, err := ask(sandbox, protocol, to); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s by %s: %q, %v", to, protocol, heard, err)
				}
			}
		}
	}
	reached := func(to ...string) {
		t.Helper()
		for _, to := range to {
			for _, protocol := range []string{"tcp", "udp"} {
				if heard, err := ask(sandbox, protocol, to); !strings.HasPrefix(heard, "192.0.2.1:") {
					t.Errorf("%s by %s: %q, %v", to, protocol, heard, err)
				}
			}
		}
	}
	apply := func(r *egress.Rules) {
		t.Helper()
		inside(t, w.host, func() error { return h.Apply(one1, r) })
	}
	always := []string{
		"10.200.0.1:80", "192.0.2.1:80", "10.7.7.7:80", "127.0.0.9:80", "169.254.169.254:80", "172.16.3.3:80",
		h.slots[two2].address().String() + ":80", h.slots[one1].address().String() + ":80",
	}
	always = slices.DeleteFunc(always, func(to string) bool { return strings.HasPrefix(to, "127.") }) // its own
	refused(append(always, outsideIP+":80")...)                                                       // no rules yet
	apply(rulesOf(t, []string{"*", "10.20.0.0/16:80"}, nil))
	reached(outsideIP+":80", "10.20.0.5:80")
	refused(append(always, outsideIP+":81", "10.20.0.5:81")...)
	apply(rulesOf(t, []string{"0.0.0.0/0"}, []string{outsideIP + ":81"}))
	reached(outsideIP + ":80")
	refused(append(always, outsideIP+":81", "10.20.0.5:80")...)
	apply(rulesOf(t, []string{"0.0.0.0/0"}, nil, egress.Policy{Allow: []string{"203.0.113.0/24:81"}}, egress.Policy{Deny: []string{"10.0.0.0/8"}}))
	reached(outsideIP + ":81")
	refused(append(always, outsideIP+":80")...)
	apply(rulesOf(t, []string{"0.0.0.0/0", "198.18.0.0/15", "10.7.7.7", "192.0.2.1"}, nil)) // what is opened by a rule is not the host's or another's
	refused(slices.DeleteFunc(slices.Clone(always), func(to string) bool { return strings.HasPrefix(to, "169.") || strings.HasPrefix(to, "172.") })...)

	var many egress.Layers
	for i := range egress.MaxLayers - 1 {
		many = append(many, egress.Policy{Allow: []string{fmt.Sprintf("198.51.100.%d", i), "203.0.113.0/24:80", "*:81,82"}})
	}
	apply(rulesOf(t, []string{"0.0.0.0/0"}, nil, many...))
	reached(outsideIP+":80", outsideIP+":81")
	refused(append(always, "10.20.0.5:80")...)

	var long []string
	for i := range 150 {
		long = append(long, fmt.Sprintf("1.2.3.%d:1,2,3,4,5,6,7,8,9,11,12,13,14,15,16", i))
	}
	long = append(long, outsideIP)
	apply(rulesOf(t, long, nil, egress.Policy{Allow: long}, egress.Policy{Allow: long}, egress.Policy{Allow: append(slices.Clone(long), "1.1.1.1")}))
	reached(outsideIP + ":80")
	refused("10.20.0.5:80")

	apply(rulesOf(t, []string{"a.test"}, nil))
	refused(outsideIP + ":80")
	for range 2 { // the second time it is there
		inside(t, w.host, func() error {
			return h.Allow(one1, []netip.AddrPort{netip.MustParseAddrPort(outsideIP + ":80")})
		})
		reached(outsideIP + ":80")
		refused(append(always, outsideIP+":81")...)
	}
	apply(rulesOf(t, []string{"a.test"}, nil))
	refused(outsideIP + ":80") // until the name is asked for again

	// What is connected goes on under other rules.
	apply(rulesOf(t, []string{"*"}, nil))
	inside(t, sandbox, func() error {
		conn, err := net.Dial("udp", outsideIP+":80")
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // as above
		buf := make([]byte, 256)
		for range 2 {
			_ = conn.SetDeadline(time.Now().Add(patience))
			if _, err := conn.Write([]byte("?")); err != nil {
				return err
			}
			if _, err := conn.Read(buf); err != nil {
				return err
			}
			if err := hostproc.InNetwork(w.host, func() error { return h.Apply(one1, rulesOf(t, nil, nil)) }); err != nil {
				return err
			}
		}
		return nil
	})

	// Nobody on the host or outside begins.
	apply(rulesOf(t, []string{"0.0.0.0/0"}, nil))
	inside(t, w.host, func() error {
		conn, err := net.DialTimeout("udp", h.slots[one1].address().String()+":9", patience)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // as above
		if _, err = conn.Write([]byte("?")); !errors.Is(err, unix.EPERM) {
			t.Error("the host reaches a sandbox:", err)
		}
		return nil
	})

	// Another namespace of the same sandbox has its rules.
	sandbox = w.make(t, h, one1)
	reached(outsideIP + ":80")

	// A daemon that comes later knows what there is, and other daemons' is not its own.
	inside(t, w.host, func() error {
		later := New("test")
		ids, err := later.Owners()
		if slices.Sort(ids); !slices.Equal(ids, []string{one1, two2}) {
			t.Error(ids)
		}
		others, otherErr := New("other").Owners()
		if len(others) > 0 {
			t.Error(others)
		}
		removed := errors.Join(later.Remove(one1), later.Remove(one1))
		refusedErr := later.Apply(one1, rulesOf(t, nil, nil))
		if refusedErr == nil {
			t.Error("rules of nobody")
		}
		return errors.Join(err, otherErr, removed)
	})
	inside(t, w.host, func() error {
		later := New("test")
		_, err := later.Owners()
		c, openErr := nftables.New()
		if err := errors.Join(err, openErr); err != nil {
			return err
		}
		c.FlushRuleset() // others do that
		return errors.Join(c.Flush(), later.Remove(two2), New("test").Remove(two2))
	})
	nothingIsLeft(t, w)
}

func nothingIsLeft(t *testing.T, w *world) {
	t.Helper()
	inside(t, w.host, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, tablesErr := c.ListTables()
		for _, table := range tables {
			t.Error("table", table.Name)
		}
		links, linksErr := netlink.LinkList()
		for _, link := range links {
			if name := link.Attrs().Name; strings.HasPrefix(name, "sp") {
				t.Error("interface", name)
			}
		}
		routes, routesErr := routed()
		if len(routes) > 0 {
			t.Error(routes)
		}
		flows, flowsErr := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
		for _, flow := range flows {
			if from, _ := netip.AddrFromSlice(flow.Forward.SrcIP); reserved.Contains(from.Unmap()) {
				t.Error("connection", flow)
			}
		}
		return errors.Join(tablesErr, linksErr, routesErr, flowsErr)
	})
}

// What a sandbox sends from another address, or about connections of others, goes nowhere.
func TestSourcesAreNotBelieved(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	sandbox := w.make(t, h, one1)
	inside(t, w.host, func() error { return h.Apply(one1, rulesOf(t, []string{"0.0.0.0/0"}, nil)) })
	counted := func() uint64 { return received(t, w.outside, "down") }
	const lies = 100 // far more than the kernel's own packets
	before := counted()
	inside(t, sandbox, func() error {
		if err := address(guestDevice, "192.0.2.77/32"); err != nil {
			return err
		}
		spoofing := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP("192.0.2.77")}}
		conn, err := spoofing.Dial("udp", outsideIP+":80")
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // only written to
		for range lies {
			if _, err := conn.Write([]byte("?")); err != nil {
				return err
			}
		}
		return nil
	})
	behind := func() { // the others, by the same way
		t.Helper()
		if heard, err := ask(sandbox, "udp", outsideIP+":80"); err != nil || heard == "" {
			t.Error(heard, err)
		}
	}
	behind()
	if n := counted() - before; n >= lies {
		t.Errorf("%d packets came outside", n)
	}

	errorsBefore := icmpErrors(t, w.outside)
	heard, err := ask(w.host, "udp", outsideIP+":80") // a connection of another
	if err != nil {
		t.Fatal(err)
	}
	inside(t, sandbox, func() error { return denounce(outsideIP, 80, netip.MustParseAddrPort(heard)) })
	behind()
	if n := icmpErrors(t, w.outside); n != errorsBefore {
		t.Errorf("%s errors came outside, and %s before", n, errorsBefore)
	}
	inside(t, w.host, func() error { return h.Remove(one1) })
	nothingIsLeft(t, w)
}

// The errors of ICMP are about the address that a sandbox has inside, so that it believes them: it finds the size of packets that a path takes.
func TestPathsTellTheirSize(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	sandbox := w.make(t, h, one1)
	inside(t, w.host, func() error {
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetMTU(up, 1280), h.Apply(one1, rulesOf(t, []string{"0.0.0.0/0"}, nil)))
	})
	inside(t, sandbox, func() error {
		conn, err := net.Dial("udp", outsideIP+":80")
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // as above
		_ = conn.SetDeadline(time.Now().Add(patience))
		raw, err := conn.(*net.UDPConn).SyscallConn()
		if err != nil {
			return err
		}
		var size int
		if err := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		}); err != nil {
			return err
		}
		for size != 1280 {
			if _, err := conn.Write(make([]byte, 1400)); err != nil && !errors.Is(err, unix.EMSGSIZE) {
				return err
			}
			if err := raw.Control(func(fd uintptr) { size, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU) }); err != nil {
				return err
			}
			if err := context.Cause(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	inside(t, w.host, func() error { return h.Remove(one1) })
	nothingIsLeft(t, w)
}

func TestCheckSaysWhatIsMissing(t *testing.T) {
	ns, err := hostproc.NewNetwork()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close() //nolint:errcheck // nothing was written
	inside(t, ns, func() error {
		if err := os.WriteFile(forwarding, []byte("0"), 0o600); err != nil {
			return err
		}
		if lack, ok := errors.AsType[*Lack](Check()); !ok || !strings.Contains(lack.Mend, "sysctl -w net.ipv4.ip_forward=1") {
			t.Error(lack)
		}
		if err := os.WriteFile(forwarding, []byte("1"), 0o600); err != nil {
			return err
		}
		return Check()
	})
	if lack, ok := errors.AsType[*Lack](lackOf(fmt.Errorf("make: %w", unix.EPERM))); !ok || !strings.Contains(lack.Mend, "CAP_NET_ADMIN") {
		t.Error(lack)
	}
}
