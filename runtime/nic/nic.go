// Package nic gives sandboxes a network interface each: a network namespace that the sandbox joins, joined to the host by a pair of virtual
// interfaces, and the packet filter between them. All sandboxes have one address inside, so that what is restored or forked from a
// checkpoint keeps its own; the host translates it to one of each sandbox's own.
//
// The kernel is the only store: the names of chains say whose they are. A namespace ends with the sandbox's processes, and its interfaces with it.
package nic

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"sandpool/runtime/egress"
	"sandpool/runtime/hostproc"
)

// Host is this host's side of the sandboxes of one daemon. Make it with New.
type Host struct {
	mark string

	mu    sync.Mutex // held while rules are changed
	slots map[string]slot
	next  uint16

	loaded atomic.Bool
	ids    sync.Map // of slots and of those being made, once they are loaded: who has none waits for nobody
}

// slot is a sandbox's place: its number makes its address and the name of its interface on the host.
type slot struct {
	number  uint16
	bounded bool          // it has the chain of addAdmission, which daemons of earlier versions did not make
	ns      *os.File      // keeps the namespace until the sandbox is in it; nil of one that an earlier daemon made
	rules   *egress.Rules // that were applied last; nil: none by this daemon
}

// New makes a Host, which touches nothing yet. The identity is the daemon's own, so that no two on a host have the same.
func New(identity string) *Host {
	sum := sha256.Sum256([]byte(identity))
	return &Host{mark: hex.EncodeToString(sum[:3])}
}

// reserved is the network of the addresses that sandboxes have on the host. It is one of benchmarks, which is special to the rules.
var reserved = netip.MustParsePrefix("198.19.0.0/16")

func (s slot) address() netip.Addr {
	return netip.AddrFrom4([4]byte{198, 19, byte(s.number >> 8), byte(s.number & 0xff)})
}

func (h *Host) prefix() string { return "sp" + h.mark }

func (h *Host) device(s slot) string { return fmt.Sprintf("%s%04x", h.prefix(), s.number) }

// attempts is how often what others change in between is tried again.
const attempts = 8

// Make makes the interface of a sandbox, with the rules of one that it had, which ends, or else with none, by which everything is refused. It returns a path of the namespace, which
// leads there until the sandbox is removed or this process ends.
func (h *Host) Make(sandbox string) (path string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return "", err
	}
	h.ids.Store(sandbox, true)
	defer h.note(sandbox)
	rules := h.slots[sandbox].rules
	if err := h.remove(sandbox); err != nil {
		return "", err
	}
	for range attempts {
		if path, err = h.make(sandbox); !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	if err == nil && rules != nil {
		err = h.apply(sandbox, rules)
	}
	return path, err
}

func (h *Host) make(sandbox string) (path string, err error) {
	number, err := h.free()
	if err != nil {
		return "", err
	}
	s := slot{number: number, bounded: true}
	if s.ns, err = hostproc.NewNetwork(); err != nil {
		return "", err
	}
	undo := func(err error) error { return errors.Join(err, s.ns.Close(), deleteLink(h.device(s))) }
	if err := addPair(h.device(s), s.ns); err != nil {
		return "", undo(err)
	}
	if err := h.addRules(sandbox, s); err != nil { // before the interface is up
		return "", undo(err)
	}
	h.slots[sandbox] = s
	if err := raise(h.device(s), s); err != nil {
		return "", errors.Join(err, h.remove(sandbox))
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.ns.Fd()), nil
}

// free is a number that nobody on this host has. They are taken in turn, so that one comes again late.
func (h *Host) free() (uint16, error) {
	taken, err := routed()
	if err != nil {
		return 0, err
	}
	for _, s := range h.slots {
		taken[s.address()] = true
	}
	for range 1 << 16 {
		h.next++
		s := slot{number: h.next}
		if low := h.next & 0xff; low != 0 && low != 255 && !taken[s.address()] {
			return h.next, nil
		}
	}
	return 0, fmt.Errorf("all addresses of %s are taken", reserved)
}

// Remove removes a sandbox's interface, and with the last one all that was made for any. That there is none is no error.
func (h *Host) Remove(sandbox string) error {
	if h.hasNone(sandbox) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.note(sandbox)
	return h.remove(sandbox)
}

func (h *Host) remove(sandbox string) error {
	if err := h.load(); err != nil {
		return err
	}
	s, ok := h.slots[sandbox]
	if !ok {
		return nil
	}
	if s.ns != nil {
		_ = s.ns.Close() // nothing was written
	}
	// What had been connected must not count as connected for the next one with this address.
	err := errors.Join(deleteLink(h.device(s)), forgetConnections(s.address()), h.deleteOwn(sandbox, s))
	if errors.Is(err, unix.ENOENT) {
		err = h.unlessGone(sandbox, err)
	}
	if err == nil {
		delete(h.slots, sandbox)
	}
	return err
}

// deleteOwn removes a sandbox's rules. The last one's go with the tables, at once: between the two nobody would know of the tables.
func (h *Host) deleteOwn(sandbox string, s slot) error {
	if len(h.slots) == 1 {
		return h.deleteTables()
	}
	return h.deleteRules(sandbox, s)
}

// Owners are the sandboxes that have an interface, or parts of one.
func (h *Host) Owners() ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(h.slots))
	for id := range h.slots {
		ids = append(ids, id)
	}
	return ids, nil
}

// Apply has new connections of a sandbox to literal addresses go by these rules, and forgets what names led to. A sandbox without an interface
// is an error of class NotFound.
func (h *Host) Apply(sandbox string, rules *egress.Rules) error {
	return h.change(sandbox, func() error { return h.apply(sandbox, rules) })
}

// Allow lets a sandbox connect to addresses by ports for a while: those that a name leads to that it has just asked for. All are IPv4.
func (h *Host) Allow(sandbox string, to []netip.AddrPort) error {
	return h.change(sandbox, func() error {
		return batch(func(c *nftables.Conn) error { return h.addNames(c, sandbox, to) })
	})
}

func (h *Host) apply(sandbox string, rules *egress.Rules) error {
	s := h.slots[sandbox]
	err := batch(func(c *nftables.Conn) error {
		if !s.bounded {
			if err := h.addAdmission(c, sandbox); err != nil {
				return err
			}
		}
		return h.applyFilter(c, sandbox, rules.Filter())
	})
	if err == nil {
		s.bounded, s.rules = true, rules
		h.slots[sandbox] = s
	}
	return err
}

// hasNone tells whether a sandbox is known to have no interface, without a wait for what is done for others.
func (h *Host) hasNone(sandbox string) bool {
	if !h.loaded.Load() {
		return false
	}
	_, has := h.ids.Load(sandbox)
	return !has
}

// note has hasNone know what has become of a sandbox's slot.
func (h *Host) note(sandbox string) {
	if _, has := h.slots[sandbox]; !has {
		h.ids.Delete(sandbox)
	}
}

func (h *Host) change(sandbox string, do func() error) error {
	if h.hasNone(sandbox) {
		return errNone(sandbox)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return err
	}
	if _, ok := h.slots[sandbox]; !ok {
		return errNone(sandbox)
	}
	return do()
}
