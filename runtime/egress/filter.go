package egress

import "net/netip"

// Clause decides about IPv4 packets of a new connection to one of some addresses, by one of some ports.
type Clause struct {
	To    netip.Prefix
	Ports []int // of TCP and UDP; nil: all
	Pass  bool
}

var allIPv4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// Filter is what the rules say of literal addresses of IPv4, for a packet filter: a list for each layer, of which the first clause that is about a
// connection decides, and no clause means no. What every list lets pass is allowed. The host's own addresses and those of names are not its business.
func (r *Rules) Filter() [][]Clause {
	if !r.Open() {
		return [][]Clause{nil}
	}
	lists := make([][]Clause, 0, len(r.layers))
	for i := range r.layers {
		lists = append(lists, r.layers[i].clauses())
	}
	return lists
}

func (l *layer) clauses() (list []Clause) {
	add := func(pass bool, rules []*rule, fits func(*rule) bool) {
		for _, r := range rules {
			if !fits(r) {
				continue
			}
			to := r.prefix
			if !to.IsValid() {
				to = allIPv4
			}
			list = append(list, Clause{To: to, Ports: r.ports, Pass: pass})
		}
	}
	network := func(r *rule) bool { return r.prefix.Addr().Is4() }
	opens := func(r *rule) bool { return network(r) && withinSpecial(r.prefix) }
	everything := func(r *rule) bool { return r.name == "" && !r.prefix.IsValid() }
	add(false, l.deny.nets, network)
	add(false, l.deny.wide, everything)
	add(true, l.allow.nets, opens)
	if !l.all || l.learn {
		for _, s := range special {
			if s.prefix.Addr().Is4() {
				list = append(list, Clause{To: s.prefix})
			}
		}
	}
	add(true, l.allow.nets, network)
	add(true, l.allow.wide, everything)
	if l.all {
		list = append(list, Clause{To: allIPv4, Pass: true})
	}
	return list
}
