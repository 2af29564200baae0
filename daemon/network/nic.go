package network

import (
	"fmt"
	"net/netip"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// maxAddresses is how many addresses of a name a sandbox is told: as many as fit an answer of DNS, however long the name is.
const maxAddresses = 15

// filter has the interface of a sandbox filter by its rules, and returns whether it goes by them. One whose template had another mode when it was started
// has no interface, and then its door serves, or one through which nothing passes any more.
func (n *Server) filter(sandbox string, rules *egress.Rules) (nic bool, err error) {
	if n.o.NICs == nil {
		return false, nil
	}
	if !rules.NIC() {
		rules = &egress.Rules{}
	}
	err = n.o.NICs.Apply(sandbox, rules)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("apply rules to the interface of sandbox %s: %w", sandbox, err)
	}
	return rules.NIC(), nil
}

// answerAddresses tells a sandbox with an interface the addresses of a name that it may connect to, once its interface lets them pass.
func (n *Server) answerAddresses(b *sandbox, st *door.Stream, t target, ports []int, addrs []netip.Addr) {
	rules, to, words, v, err := n.letPass(b, t.name, ports, addrs)
	if err != nil {
		n.o.Log.Warn("interface of a sandbox does not let a name pass", "sandbox", b.id, "name", t.name, "err", err)
		_ = st.Refuse(door.Refusal{Reason: door.Failed, Text: "The host could not let the name pass."})
		return
	}
	if len(words) == 0 {
		r := denied(v)
		n.refuse(b, t, 0, r)
		_ = st.Refuse(r.forDoor())
		return
	}
	for _, at := range to {
		t.port = int(at.Port())
		e := t.entry(wire.NetworkOpened)
		v := rules.Address(t.name, at)
		e.Address, e.Rule, e.Kind, e.Message = at.String(), v.Rule, v.Kind, "The interface lets it pass from now on."
		n.o.Metrics.NetworkAsked(string(e.Result), e.Kind)
		b.add(e)
	}
	if st.Accept(words...) == nil {
		_ = st.Close()
	}
}

// letPass has an interface let pass what the rules do, which do not change in between: what names led to under those before is forgotten.
func (n *Server) letPass(b *sandbox, name string, ports []int, addrs []netip.Addr) (
	rules *egress.Rules, to []netip.AddrPort, words []string, last egress.Verdict, err error,
) {
	b.changing.Lock()
	defer b.changing.Unlock()
	rules = b.rules.Load()
	to, words, last = n.passable(rules, name, ports, addrs)
	if len(words) > 0 {
		err = n.o.NICs.Allow(b.id, to)
	}
	return rules, to, words, last, err
}

// passable are the pairs of address and port that the rules let pass, and their addresses as text; the verdict is the last one, of what does not if none does.
func (n *Server) passable(rules *egress.Rules, name string, ports []int, addrs []netip.Addr) (to []netip.AddrPort, words []string, last egress.Verdict) {
	last = egress.Verdict{Kind: egress.KindDefault, Text: name + " has no IPv4 address, and the sandbox's interface has no other."}
	for _, addr := range addrs {
		addr = addr.Unmap()
		if !addr.Is4() || len(words) == maxAddresses {
			continue
		}
		passes := false
		for _, port := range ports {
			at := netip.AddrPortFrom(addr, uint16(port)) //nolint:gosec // of a rule, from 1 to 65535
			v := rules.Address(name, at)
			if n.hosts.has(addr) {
				v = egress.Verdict{Kind: egress.KindSpecial, Text: at.String() + " is an address of this host, to which no interface of a sandbox leads."}
			}
			if v.Allowed {
				to, passes = append(to, at), true
			} else {
				last = v
			}
		}
		if passes {
			words = append(words, addr.String())
		}
	}
	return to, words, last
}
