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
	layers []layer
	most   int
	nic    bool
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
		if p.MaxConnections > 0 && (r.most == 0 || p.MaxConnections < r.most) {
			r.most = p.MaxConnections
		}
		if i == 0 {
			read.off, read.all = !isOpen(p.Mode), p.Learn
			r.nic = p.Mode == NIC
		}
		r.layers = append(r.layers, read)
		if size += p.size(); size > MaxLabels {
			return nil, fmt.Errorf("the rules of all layers have %d bytes, and the limit is %d", size, MaxLabels)
		}
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
	if p.MaxConnections < 0 {
		return layer{}, errors.New("max_connections is a whole number from 0")
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

// MaxConnections is how many connections may be open at once; 0: no layer says.
func (r *Rules) MaxConnections() int { return r.most }

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
