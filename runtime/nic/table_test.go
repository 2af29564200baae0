package nic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

func TestListsAreReadTwice(t *testing.T) {
	broken := errors.New("broken")
	all, part := []string{"a", "b", "c"}, []string{"a", "c"}
	for name, c := range map[string]struct {
		lists [][]string // the last one comes again; nil: an error
		want  []string
	}{
		"nothing changes":      {[][]string{all}, all},
		"nothing is there":     {[][]string{{}}, []string{}},
		"one was left out":     {[][]string{part, all}, all},
		"the first is broken":  {[][]string{nil}, nil},
		"the second is broken": {[][]string{all, nil}, nil},
	} {
		got, err := steady(func() ([]string, error) {
			next := c.lists[0]
			if len(c.lists) > 1 {
				c.lists = c.lists[1:]
			}
			if next == nil {
				return nil, broken
			}
			return next, nil
		})
		if !slices.Equal(got, c.want) || errors.Is(err, broken) != (c.want == nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	n := 0
	if _, err := steady(func() ([]string, error) { n++; return []string{fmt.Sprint(n)}, nil }); err == nil {
		t.Error("what changes all the time was listed")
	}
}

// What comes from outside to the address of a sandbox, and belongs to no connection of its, goes nowhere.
func TestNobodyComesIn(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	sandbox := w.make(t, h, one1)
	inside(t, w.host, func() error { return h.Apply(one1, rulesOf(t, []string{"0.0.0.0/0"}, nil)) })
	behind := func() { // the others, by the same way
		t.Helper()
		if heard, err := ask(sandbox, "udp", outsideIP+":80"); err != nil || heard == "" {
			t.Error(heard, err)
		}
	}
	behind()
	const strangers = 100 // far more than the kernel's own packets
	before := received(t, sandbox, guestDevice)
	inside(t, w.outside, func() error {
		reservedNet := net.IPNet{IP: reserved.Addr().AsSlice(), Mask: net.CIDRMask(reserved.Bits(), 32)}
		if err := netlink.RouteAdd(&netlink.Route{Dst: &reservedNet, Gw: net.ParseIP("192.0.2.1")}); err != nil {
			return err
		}
		conn, err := net.Dial("udp", netip.AddrPortFrom(h.slots[one1].address(), 80).String())
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // only written to
		for range strangers {
			if _, err := conn.Write([]byte("?")); err != nil {
				return err
			}
		}
		return nil
	})
	behind()
	if n := received(t, sandbox, guestDevice) - before; n >= strangers {
		t.Errorf("%d packets came in", n)
	}
	inside(t, w.host, func() error { return h.Remove(one1) })
	nothingIsLeft(t, w)
}

// A pair that a name leads to has its whole time anew with each answer.
func TestNamesAreGoodForTheirTime(t *testing.T) {
	w := newWorld(t)
	h := New("test")
	w.make(t, h, one1)
	to := netip.MustParseAddrPort("203.0.113.9:80")
	inside(t, w.host, func() error {
		if err := batch(func(c *nftables.Conn) error { // as if some of it had gone by
			return c.SetAddElements(h.names(one1), []nftables.SetElement{{Key: pair(to), Timeout: nameTime / 2}})
		}); err != nil {
			return err
		}
		if err := h.Allow(one1, []netip.AddrPort{to}); err != nil {
			return err
		}
		c, err := nftables.New()
		if err != nil {
			return err
		}
		got, err := c.GetSetElements(h.names(one1))
		if len(got) != 1 || got[0].Timeout != nameTime {
			t.Errorf("%+v", got)
		}
		return errors.Join(err, h.Remove(one1))
	})
	nothingIsLeft(t, w)
}
