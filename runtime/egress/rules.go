package egress

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
)

// Rules are layers that were read, and decide. They do not change.
type Rules struct {
	layers  []layer
	secrets []string
	bound   []Bound
	key     string
	limits  Limits
	nic     bool
}

// Limits are bounds of a sandbox, of which 0 is none.
type Limits struct {
	Connections int // open at once
	Rate        int // bytes a second in each direction
	Bytes       int // in both directions together
}

// narrow has the bounds be no more than those of a layer.
func (l *Limits) narrow(p Policy) {
	for bound, own := range map[*int]int{&l.Connections: p.MaxConnections, &l.Rate: p.Rate, &l.Bytes: p.MaxBytes} {
		if own > 0 && (*bound == 0 || own < *bound) {
			*bound = own
		}
	}
}

type layer struct {
	who         string // whose rules they are, in sentences
	off         bool   // mode none
	all         bool   // all that is not denied and not special is allowed
	learn       bool
	allow, deny set
}

// Compile reads layers. Its errors name the rule as it was written and what is wrong.
func Compile(l Layers) (*Rules, error) {
	if len(l) > MaxLayers {
		return nil, fmt.Errorf("a sandbox has at most %d layers of rules", MaxLayers)
	}
	r := &Rules{}
	size := 0
	for i, p := range l {
		read, err := compileLayer(p)
		if err != nil {
			return nil, err
		}
		read.who = "the " + Whose(i, len(l))
		r.limits.narrow(p)
		if i == 0 {
			read.off, read.all = !isOpen(p.Mode), p.Learn
			r.nic = p.Mode == NIC
			r.secrets = slices.Clone(p.Secrets)
		} else if p.Secrets != nil {
			r.secrets = slices.DeleteFunc(r.secrets, func(name string) bool { return !slices.Contains(p.Secrets, name) })
		}
		if err := r.bind(p); err != nil {
			return nil, err
		}
		r.layers = append(r.layers, read)
		if size += p.size(); size > MaxLabels {
			return nil, fmt.Errorf("the rules of all layers have %d bytes, and the limit is %d", size, MaxLabels)
		}
	}
	if r.nic && (len(r.secrets) > 0 || len(r.bound) > 0 || r.limits.Rate > 0 || r.limits.Bytes > 0) {
		return nil, fmt.Errorf("secrets, rate and max_bytes hold at a door, and mode %q goes past it: leave them out", NIC)
	}
	return r, nil
}

// Whose says whose rules the layer with an index is: those of the template, a checkpoint or the claim.
func Whose(i, of int) string {
	switch i {
	case 0:
		return "template"
	case of - 1:
		return "claim"
	}
	return "checkpoint"
}

// NIC tells whether the sandbox has an interface.
func (r *Rules) NIC() bool { return r.nic }

// Open tells whether there is a network at all.
func (r *Rules) Open() bool { return r.closed() == nil }

func compileLayer(p Policy) (layer, error) {
	if p.Mode != "" && p.Mode != None && !isOpen(p.Mode) {
		return layer{}, fmt.Errorf("mode %s: it is %q, %q or %q", quote(p.Mode), None, Door, NIC)
	}
	if p.MaxConnections < 0 || p.Rate < 0 || p.MaxBytes < 0 {
		return layer{}, errors.New("max_connections, rate and max_bytes are whole numbers from 0")
	}
	l := layer{off: p.Mode == None, all: !p.limits(), learn: p.Learn}
	allow, deny, faults := p.read()
	if len(faults) > 0 {
		return layer{}, faults[0]
	}
	l.allow, l.deny = newSet(allow), newSet(deny)
	if len(allow)+len(deny) > MaxRules {
		return layer{}, fmt.Errorf("there are more than %d rules", MaxRules)
	}
	if size := p.size(); size > MaxText {
		return layer{}, fmt.Errorf("the rules have %d bytes, and the limit is %d", size, MaxText)
	}
	return l, nil
}

// read reads all rules of the layer that can be read, and says what is wrong with the others as *Fault.
func (p Policy) read() (allow, deny []rule, faults []*Fault) {
	collect := func(into *[]rule, text string, at position) {
		r, err := parseRule(text, at)
		if err != nil {
			faults = append(faults, &Fault{List: at.list, Index: at.index, Err: err})
			return
		}
		*into = append(*into, r)
	}
	for i, text := range p.Allow {
		collect(&allow, text, position{"allow", i})
	}
	for i, name := range p.Preset {
		if presets[name] == nil {
			err := fmt.Errorf("there is no preset %s, but there is %q", quote(name), Presets())
			faults = append(faults, &Fault{List: "preset", Index: i, Err: err})
		}
		for _, r := range presetRules()[name] {
			r.position = position{"preset", i}
			allow = append(allow, r)
		}
	}
	for i, text := range p.Deny {
		collect(&deny, text, position{"deny", i})
	}
	return allow, deny, faults
}

// Limits are the least of all layers.
func (r *Rules) Limits() Limits { return r.limits }

// Secrets are the names of those that every layer allows, in order.
func (r *Rules) Secrets() []string { return r.secrets }

// Learns tells whether a layer allows what no rule of it allows.
func (r *Rules) Learns() bool {
	return slices.ContainsFunc(r.layers, func(l layer) bool { return l.learn })
}

// Name is a name that a sandbox may connect to, and by which ports, in order.
type Name struct {
	Name  string
	Ports []int
}

// Table is what the sandbox can know without a question: all names that rules have in full and that may be reached, in order.
func (r *Rules) Table() []Name {
	names := map[string]bool{}
	for _, l := range r.layers {
		for name := range l.allow.names {
			names[name] = true
		}
	}
	var table []Name
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if ports := r.Ports(name); len(ports) > 0 {
			table = append(table, Name{Name: name, Ports: ports})
		}
	}
	return table
}

// Ports are those by which a name may be reached, in order. Where the rules allow all ports they are those of the web, and of each rule for the name.
func (r *Rules) Ports(name string) []int {
	known := slices.Clone(web)
	for i := range r.layers {
		known = append(known, r.layers[i].allow.ports(name)...)
	}
	slices.Sort(known)
	return slices.DeleteFunc(slices.Compact(known), func(port int) bool { return !r.allows(name, port) })
}

// allows is Name without a reason.
func (r *Rules) allows(name string, port int) bool {
	return r.Open() && !slices.ContainsFunc(r.layers, func(l layer) bool {
		return l.deny.forName(name, port) != nil || !l.all && l.allow.forName(name, port) == nil
	})
}

// target is host and port as text.
func target(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
