package network

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// cards are interfaces that note what they are told.
type cards struct {
	mu sync.Mutex
	noted
	missing bool
	box     *sandbox // nil until there is one
}

type noted struct {
	between bool // rules were changed, or a name passed, while another call could have done so
	closed  bool
	allowed []string
}

// lock locks, and notes who is in between.
func (c *cards) lock() {
	c.mu.Lock()
	if c.box != nil && c.box.changing.TryLock() {
		c.between = true
		c.box.changing.Unlock()
	}
}

func (c *cards) Apply(_ string, rules *egress.Rules) error {
	c.lock()
	defer c.mu.Unlock()
	if c.missing {
		return errdefs.ErrNotFound
	}
	c.closed = !rules.Open()
	return nil
}

func (c *cards) Allow(_ string, to []netip.AddrPort) error {
	c.lock()
	defer c.mu.Unlock()
	for _, at := range to {
		c.allowed = append(c.allowed, at.String())
	}
	return nil
}

// set changes what the interfaces do.
func (c *cards) set(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

// seen is what was noted until now.
func (c *cards) seen() noted {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.noted
	n.allowed = slices.Sorted(slices.Values(n.allowed))
	return n
}

func TestNamesOpenAnInterface(t *testing.T) {
	c := &cards{}
	nic := egress.Layers{{Mode: egress.NIC, Allow: []string{"a.test:80,53", "b.test", "c.test"}}}
	w := newWorld(t, Options{NICs: c}, nic)
	c.set(func() { c.box = w.n.all[sandboxID] })
	w.name("a.test", netip.MustParseAddr("203.0.113.1"))
	w.name("b.test", netip.MustParseAddr("169.254.169.254"))
	w.name("c.test", netip.MustParseAddr("2001:db8::1"))
	_, words, err := w.ask(door.Ask{Kind: door.Resolve, Name: "a.test"})
	if err != nil || !slices.Equal(words, []string{"203.0.113.1"}) {
		t.Error(words, err)
	}
	opened := []string{"203.0.113.1:53", "203.0.113.1:80"}
	if got := c.seen().allowed; !slices.Equal(got, opened) {
		t.Error(got)
	}
	if told := w.entries(wire.NetworkOpened); len(told) != 2 {
		t.Error(told)
	}
	for _, name := range []string{"b.test", "c.test", "denied.test"} {
		if _, words, err := w.ask(door.Ask{Kind: door.Resolve, Name: name}); err == nil {
			t.Errorf("%s is %v", name, words)
		}
	}
	if got := c.seen().allowed; !slices.Equal(got, opened) {
		t.Error(got)
	}
	w.set(box("a.test"))
	if !c.seen().closed {
		t.Error("an interface is open under the rules of a door")
	}
	if _, words, err := w.ask(door.Ask{Kind: door.Resolve, Name: "a.test"}); err != nil || !slices.Equal(words, []string{"80", "443"}) {
		t.Error(words, err)
	}
	c.set(func() { c.missing = true })
	w.set(nic) // of a sandbox that was started under the rules of a door
	if _, words, err := w.ask(door.Ask{Kind: door.Resolve, Name: "a.test"}); err != nil || fmt.Sprint(words) != "[53 80]" {
		t.Error(words, err)
	}
	if c.seen().between {
		t.Error("a name may pass by rules that are no more")
	}
}

// An address of this host is not let pass, also by a rule about it, and of a name with many addresses some are.
func TestAddressesThatAnInterfaceHas(t *testing.T) {
	c := &cards{}
	w := newWorld(t, Options{NICs: c}, egress.Layers{{Mode: egress.NIC, Allow: []string{"host.test:80", "5.5.5.6:80", "many.test:80"}}})
	c.set(func() { c.box = w.n.all[sandboxID] })
	own := netip.MustParseAddr("5.5.5.6")
	if err := ownAddress(own); err != nil {
		t.Fatal(err)
	}
	w.name("host.test", own)
	if _, words, err := w.ask(door.Ask{Kind: door.Resolve, Name: "host.test"}); err == nil || len(c.seen().allowed) > 0 {
		t.Error(words, c.seen().allowed)
	}
	if err := ownAddress(netip.IPv4Unspecified()); err != nil { // which takes it away
		t.Fatal(err)
	}
	var many []netip.Addr
	for addr := netip.MustParseAddr("203.0.113.1"); len(many) < maxAddresses+5; addr = addr.Next() {
		many = append(many, addr)
	}
	if to, words, _ := w.n.passable(w.n.all[sandboxID].rules.Load(), "many.test", []int{80}, many); len(words) != maxAddresses || len(to) != maxAddresses {
		t.Error(words, to)
	}
}
