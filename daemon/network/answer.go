package network

import (
	"context"
	"net/netip"
	"strconv"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// answer does what a sandbox asks for with a stream, until that is done.
func (n *Server) answer(ctx context.Context, b *sandbox, st *door.Stream) {
	switch ask := st.Ask(); ask.Kind {
	case door.Connect:
		n.answerConnect(ctx, b, st)
	case door.Proxy:
		if st.Accept() == nil {
			n.proxy(ctx, b, st)
		}
		_ = st.Close()
	case door.Resolve:
		n.answerResolve(ctx, b, st)
	default:
		_ = st.Refuse(door.Refusal{Reason: door.Denied, Text: "Sandboxes do not ask for this."})
	}
}

// answerConnect connects to a name, and carries the bytes.
func (n *Server) answerConnect(ctx context.Context, b *sandbox, st *door.Stream) {
	t, err := targetOf(wire.ViaName, st.Ask().Name, st.Ask().Port)
	if err != nil {
		r := notAName(err)
		n.refuse(b, target{via: wire.ViaName, name: shown(st.Ask().Name), port: st.Ask().Port}, 0, r)
		_ = st.Refuse(r.forDoor())
		return
	}
	t = n.bind(b, t)
	up, r := n.connect(ctx, b, t)
	if r != nil {
		_ = st.Refuse(r.forDoor())
		return
	}
	if st.Accept() != nil {
		up.reset()
		return
	}
	n.relay(ctx, b, t, st, st, up)
}

// answerResolve tells whether a name may be reached, and by which ports or, of a sandbox with an interface, at which addresses. Names that the
// sandbox has in its table it does not ask for.
func (n *Server) answerResolve(ctx context.Context, b *sandbox, st *door.Stream) {
	ports, addrs, t, err := n.portsOf(ctx, b, st.Ask().Name)
	if b.nic.Load() && err == nil {
		n.answerAddresses(b, st, t, ports, addrs)
		return
	}
	if err != nil {
		r := refusalOf(ctx, t, err)
		n.refuse(b, t, 0, r)
		_ = st.Refuse(r.forDoor())
		return
	}
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = strconv.Itoa(p)
	}
	if st.Accept(words...) == nil {
		_ = st.Close()
	}
}

// portsOf are the ports by which a name that there is may be reached, and its addresses.
func (n *Server) portsOf(ctx context.Context, b *sandbox, host string) ([]int, []netip.Addr, target, error) {
	t := target{via: wire.ViaLookup, name: shown(host)}
	name, err := egress.ParseHost(host)
	if err != nil {
		return nil, nil, t, notAName(err)
	}
	t.name = name
	rules := b.rules.Load()
	ports := n.ports(rules, name)
	if len(ports) == 0 {
		return nil, nil, t, denied(rules.Name(name, 443))
	}
	addrs, err := n.lookup(ctx, b, t)
	return ports, addrs, t, err
}

// maxShown bounds what is kept of a text that is no name, in bytes.
const maxShown = 80

// shown is a stranger's text, as an entry has it.
func shown(text string) string {
	quoted := strconv.QuoteToASCII(text[:min(len(text), maxShown)])
	return quoted[1 : len(quoted)-1]
}
