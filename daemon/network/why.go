package network

import (
	"context"
	"net/netip"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// Why says what would become of a sandbox's connection to a name or an address, and what became of the last one. It resolves the name if
// the rules allow it.
func (n *Server) Why(ctx context.Context, sandbox, host string, port int) (wire.NetworkWhy, error) {
	b, err := n.find(sandbox)
	if err != nil {
		return wire.NetworkWhy{}, err
	}
	t, err := targetOf("", host, port)
	if err != nil {
		return wire.NetworkWhy{}, errdefs.ErrInvalidArgument.WithMessage(err.Error())
	}
	why := wire.NetworkWhy{Name: t.host(), Port: port, Last: b.last(t.host(), port)}
	rules := b.rules.Load()
	addrs := []netip.Addr{t.addr}
	if t.name != "" {
		t = n.bind(b, t)
		v := t.verdict(rules)
		why.Allowed, why.Rule, why.Kind, why.Message = v.Allowed, v.Rule, v.Kind, v.Text
		if !v.Allowed {
			return why, nil
		}
		if addrs, err = n.lookup(ctx, b, t); err != nil {
			why.Message += " " + err.Error()
			return why, nil
		}
	}
	n.judge(b, t, addrs, &why)
	if lost := t.lost(); lost != nil && why.Allowed {
		why.Allowed, why.Rule, why.Kind, why.Message = false, "", egress.KindSecret, sentence(lost.Error())
	}
	if spent := b.meter.spent(); spent != nil && why.Allowed {
		why.Allowed, why.Rule, why.Kind, why.Message = false, "", spent.verdict.Kind, spent.verdict.Text
	}
	return why, nil
}

// judge adds what the rules say of the addresses of a target. One that is allowed is enough.
func (n *Server) judge(b *sandbox, t target, addrs []netip.Addr, why *wire.NetworkWhy) {
	allowed := false
	for _, addr := range addrs {
		v := n.address(b.rules.Load(), t, netip.AddrPortFrom(addr.Unmap(), uint16(t.outside()))) //nolint:gosec // targetOf looked at it
		if allowed = allowed || v.Allowed; t.name == "" || !v.Allowed && !allowed {
			why.Rule, why.Kind, why.Message = v.Rule, v.Kind, v.Text
		}
		why.Addresses = append(why.Addresses, wire.NetworkAddress{Address: addr.Unmap().String(), Allowed: v.Allowed, Rule: v.Rule, Kind: v.Kind, Message: v.Text})
	}
	why.Allowed = allowed
}
