package nic

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tracked is how many connections of a sandbox the host's kernel knows.
func tracked(t *testing.T, w *world, h *Host, id string) (n int) {
	t.Helper()
	inside(t, w.host, func() error {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
		for _, flow := range flows {
			if from, _ := netip.AddrFromSlice(flow.Forward.SrcIP); from.Unmap() == h.slots[id].address() {
				n++
			}
		}
		return err
	})
	return n
}

// begin sends a packet of each of some connections by UDP, which stay open until the test's end.
func begin(t *testing.T, sandbox *os.File, n int) {
	t.Helper()
	inside(t, sandbox, func() error {
		for range n {
			conn, err := net.Dial("udp", outsideIP+":80")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = conn.Close() })
			if _, err := conn.Write([]byte("?")); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				return err
			}
		}
		return nil
	})
}

// A sandbox has a bounded part of what the host's kernel tracks, whatever it does, and others are served meanwhile.
func TestConnectionsAreBounded(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	sandbox, other := w.make(t, h, one1), w.make(t, h, two2)
	everywhere := rulesOf(t, []string{"0.0.0.0/0"}, nil)
	apply := func(h *Host, id string) {
		t.Helper()
		inside(t, w.host, func() error { return h.Apply(id, everywhere) })
	}
	apply(h, one1)
	apply(h, two2)
	isFull := func(most int) {
		t.Helper()
		if n := tracked(t, w, h, one1); n > most || n < MaxOpen {
			t.Errorf("%d connections are tracked, of %d that there may be", n, most)
		}
		if heard, err := ask(sandbox, "tcp", outsideIP+":80"); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("one more: %q, %v", heard, err)
		}
		if heard, err := ask(other, "tcp", outsideIP+":80"); err != nil || heard == "" {
			t.Errorf("another sandbox: %q, %v", heard, err)
		}
	}
	begin(t, sandbox, MaxOpen+100)
	isFull(MaxOpen)
	apply(h, one1) // takes away nothing that counts
	begin(t, sandbox, 100)
	isFull(MaxOpen)

	// What is over gives its room back.
	inside(t, w.host, func() error { return forgetConnections(h.slots[one1].address()) })
	if heard, err := ask(sandbox, "tcp", outsideIP+":80"); err != nil || heard == "" {
		t.Error(heard, err)
	}
	// But those that are closed are known for a while.
	var err error
	for range 2 * MaxBegun {
		if _, err = ask(sandbox, "tcp", outsideIP+":80"); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after many that were closed: %v", err)
	}
	isFull(MaxOpen + MaxBegun)
	inside(t, w.host, func() error { return errors.Join(h.Remove(one1), h.Remove(two2)) })
	nothingIsLeft(t, w)
}

// What an earlier version made is bounded from the first rules on, and removed as a whole.
func TestInterfacesOfEarlierVersions(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	sandbox := w.make(t, h, one1)
	w.make(t, h, two2)
	inside(t, w.host, func() error {
		return batch(func(c *nftables.Conn) error {
			for _, id := range []string{one1, two2} {
				c.FlushChain(h.chain(admitOf(id)))
				c.DelChain(h.chain(admitOf(id)))
				c.DelSet(h.flows(id))
				add(c, h.chain(layersOf(id)), verdict(expr.VerdictAccept, ""))
			}
			return nil
		})
	})
	h = New("test")
	inside(t, w.host, func() error { return h.Apply(one1, rulesOf(t, []string{"*"}, nil)) })
	if heard, err := ask(sandbox, "tcp", outsideIP+":80"); err != nil || heard == "" {
		t.Error(heard, err)
	}
	begin(t, sandbox, MaxOpen+100)
	if n := tracked(t, w, h, one1); n > MaxOpen+1 { // with the one that is closed
		t.Errorf("%d connections are tracked", n)
	}
	inside(t, w.host, func() error { return errors.Join(h.Remove(one1), h.Remove(two2)) })
	nothingIsLeft(t, w)
}

// What begins no connection is tracked by nobody, so its source would not be translated.
func TestWhatBeginsNothingStays(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	sandbox := w.make(t, h, one1)
	inside(t, w.host, func() error {
		return h.Apply(one1, rulesOf(t, []string{"*"}, nil))
	})
	const packets = 100 // far more than the kernel's own
	before := received(t, w.outside, "down")
	inside(t, sandbox, func() error {
		conn, err := net.Dial("ip4:tcp", outsideIP)
		if err != nil {
			return err
		}
		defer conn.Close()                                                                          //nolint:errcheck // only written to
		header := []byte{0x99, 0x99, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 3, 0, 0xff, 0, 0, 0, 0} // SYN and FIN
		for range packets {
			if _, err := conn.Write(header); err != nil {
				return err
			}
		}
		return nil
	})
	if heard, err := ask(sandbox, "tcp", outsideIP+":80"); err != nil || !strings.HasPrefix(heard, "192.0.2.1:") { // by the same way
		t.Error(heard, err)
	}
	if n := received(t, w.outside, "down") - before; n >= packets {
		t.Errorf("%d packets came outside", n)
	}
	inside(t, w.host, func() error { return h.Remove(one1) })
	nothingIsLeft(t, w)
}
