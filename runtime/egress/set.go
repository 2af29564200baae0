package egress

import "net/netip"

// set is a list of rules, ordered for questions. A rule for the whole name is found before one for names below another.
type set struct {
	names map[string][]*rule // by the whole name
	wide  []*rule            // "*" and those for names below another
	nets  []*rule
}

func newSet(list []rule) set {
	s := set{names: map[string][]*rule{}}
	for i := range list {
		switch r := &list[i]; {
		case r.prefix.IsValid():
			s.nets = append(s.nets, r)
		case r.name == "" || r.below:
			s.wide = append(s.wide, r)
		default:
			s.names[r.name] = append(s.names[r.name], r)
		}
	}
	return s
}

// forName is a rule about a port of a name; nil if there is none.
func (s *set) forName(name string, port int) *rule {
	for _, r := range s.names[name] {
		if r.forPort(port) {
			return r
		}
	}
	for _, r := range s.wide {
		if r.forPort(port) && r.forName(name) {
			return r
		}
	}
	return nil
}

// forAddress is a rule for addresses about a port of one, of those that fit, which may be nil for all; nil if there is none.
func (s *set) forAddress(addr netip.Addr, port int, fits func(netip.Prefix) bool) *rule {
	for _, r := range s.nets {
		if r.prefix.Contains(addr) && r.forPort(port) && (fits == nil || fits(r.prefix)) {
			return r
		}
	}
	return nil
}

// forLiteral is a rule about a port of an address that was asked for as such.
func (s *set) forLiteral(addr netip.Addr, port int) *rule {
	if r := s.forAddress(addr, port, nil); r != nil {
		return r
	}
	for _, r := range s.wide {
		if r.name == "" && r.forPort(port) {
			return r
		}
	}
	return nil
}

// ports are those of all rules about a name, or about an address as text, but for those that mean all.
func (s *set) ports(host string) (ports []int) {
	addr, err := netip.ParseAddr(host)
	for _, list := range [][]*rule{s.names[host], s.wide, s.nets} {
		for _, r := range list {
			if r.forName(host) || err == nil && r.prefix.IsValid() && r.prefix.Contains(addr) {
				ports = append(ports, r.ports...)
			}
		}
	}
	return ports
}
