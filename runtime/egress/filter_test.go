package egress

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// passes reads clauses as a packet filter does.
func passes(lists [][]Clause, to netip.AddrPort) bool {
	for _, list := range lists {
		i := slices.IndexFunc(list, func(c Clause) bool {
			return c.To.Contains(to.Addr()) && (c.Ports == nil || slices.Contains(c.Ports, int(to.Port())))
		})
		if i < 0 || !list[i].Pass {
			return false
		}
	}
	return true
}

func TestTheFilterSaysWhatTheRulesSay(t *testing.T) {
	nic := func(allow, deny []string) Policy { return Policy{Mode: NIC, Allow: allow, Deny: deny} }
	edges := []string{"0.0.0.0", "8.8.8.8", "127.0.0.1", "169.254.169.254", "168.63.129.16", "192.0.0.192", "100.64.0.1", "198.18.0.1", "198.19.255.255", "224.0.0.1", "255.255.255.255", "10.20.0.0", "10.20.9.1", "10.21.0.1", "203.0.113.9"}
	ports := []uint16{1, 22, 53, 80, 443, 5432, 65535}
	random := rand.New(rand.NewPCG(1, 2))
	for i, l := range []Layers{
		nil,
		{nic(nil, nil)},
		{nic([]string{"a.test", "*.b.test"}, nil)},
		{nic([]string{"*"}, nil)},
		{nic([]string{"*:53"}, []string{"8.8.8.0/24"})},
		{nic([]string{"0.0.0.0/0"}, nil)},
		{nic([]string{"0.0.0.0/0", "*"}, []string{"*:22"})},
		{nic([]string{"10.20.0.0/16:5432,80", "203.0.113.9"}, []string{"10.20.9.0/24:80"})},
		{nic([]string{"::/0", "2001:db8::/32"}, nil)},
		{nic([]string{"64.0.0.0/2", "169.254.169.254:80", "192.0.0.0/8"}, nil)},
		{{Mode: NIC, Learn: true, Deny: []string{"8.0.0.0/8"}}},
		{nic([]string{"10.0.0.0/8", "0.0.0.0/0"}, nil), {Allow: []string{"10.20.0.0/16", "8.8.8.8:53"}}},
		{nic([]string{"10.0.0.0/8", "0.0.0.0/0"}, nil), {Deny: []string{"10.20.0.0/16"}}, {Allow: []string{"*"}}},
		{nic([]string{"0.0.0.0/0"}, nil), {Mode: None}},
		{nic([]string{"0.0.0.0/0"}, nil), {Allow: []string{}}},
		{nic([]string{"10.0.0.0/8"}, nil), {Learn: true}},
	} {
		rules, lists := compile(t, l...), compile(t, l...).Filter()
		check := func(addr netip.Addr) {
			for _, port := range ports {
				to := netip.AddrPortFrom(addr, port)
				if want := rules.Address("", to); passes(lists, to) != want.Allowed {
					t.Errorf("%d: the filter says %v of %s; the rules: %s", i, !want.Allowed, to, want.Text)
				}
			}
		}
		for _, text := range edges {
			check(netip.MustParseAddr(text))
		}
		for range 500 {
			check(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, random.Uint32()))))
		}
	}
}
