package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// web are the ports of an allowed name that says none.
var web = []int{80, 443}

// rule is one line of a list, read.
type rule struct {
	text     string       // as written
	name     string       // of a rule for names, lower case; empty: all names and all addresses that are not special
	below    bool         // the names below name, and not name
	prefix   netip.Prefix // of a rule for addresses
	ports    []int        // in order; nil: all
	position              // where it was written
}

// position is a rule's place in its layer.
type position struct {
	list  string // "allow", "deny" or "preset"
	index int
}

// parseRule reads a rule. Without ports, one that allows names means the web's, and every other one all ports.
func parseRule(text string, at position) (rule, error) {
	r := rule{text: text, position: at}
	err := r.read(text)
	if err != nil {
		return rule{}, fmt.Errorf("rule %s: %w", quote(text), err)
	}
	if r.ports == nil && !r.prefix.IsValid() && at.list != "deny" {
		r.ports = web
	}
	return r, nil
}

func (r *rule) read(text string) error {
	host, ports, err := splitRule(text)
	if err != nil {
		return err
	}
	if r.ports, err = parsePorts(ports); err != nil {
		return err
	}
	if host == "*" {
		return nil
	}
	if rest, is := strings.CutPrefix(host, "*."); is {
		host, r.below = rest, true
	} else if r.prefix, err = parsePrefix(host); err != nil || r.prefix.IsValid() {
		return err
	}
	if strings.Contains(host, "*") {
		return errors.New("an asterisk stands alone or for the first parts of a name, as in *.example.com")
	}
	r.name, err = ParseHost(host)
	return err
}

// splitRule parts a rule from its ports, which are empty if it has none.
func splitRule(text string) (host, ports string, err error) {
	if inner, is := strings.CutPrefix(text, "["); is {
		address, rest, closed := strings.Cut(inner, "]")
		ports, colon := strings.CutPrefix(rest, ":")
		if addr, err := netip.ParseAddr(address); !closed || err != nil || !addr.Is6() {
			return "", "", errors.New("brackets hold an IPv6 address, as in [2001:db8::1]:443")
		}
		if !colon || ports == "" {
			return "", "", errors.New("brackets are followed by a colon and ports")
		}
		return address, ports, nil
	}
	if _, err := netip.ParseAddr(text); err == nil {
		return text, "", nil
	}
	network, bits, isNetwork := strings.Cut(text, "/")
	last := text
	if isNetwork {
		last = bits // what is before it may be an IPv6 address
	}
	bits, ports, has := strings.Cut(last, ":")
	if has && ports == "" {
		return "", "", errors.New("a colon is followed by ports")
	}
	if isNetwork {
		return network + "/" + bits, ports, nil
	}
	return bits, ports, nil
}

func parsePorts(text string) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	var ports []int
	for one := range strings.SplitSeq(text, ",") {
		port, err := strconv.ParseUint(one, 10, 16)
		if err != nil || port == 0 || one[0] == '0' {
			return nil, fmt.Errorf("%s is no port: ports are whole numbers from 1 to 65535, with commas between them", quote(one))
		}
		if slices.Contains(ports, int(port)) {
			return nil, fmt.Errorf("port %d is there twice", port)
		}
		ports = append(ports, int(port))
	}
	if len(ports) > maxPorts {
		return nil, fmt.Errorf("it has more than %d ports", maxPorts)
	}
	slices.Sort(ports)
	return ports, nil
}

// maxPorts is how many ports a rule may name: the sandbox has a listener for each.
const maxPorts = 16

// parsePrefix reads an address or a network; the prefix is not valid, without an error, if the text is meant for a name.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if strings.Contains(text, "/") {
			return netip.Prefix{}, errors.New("a network is an address, a slash and the number of its bits, as in 10.0.0.0/8")
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, nil
		}
		prefix = netip.PrefixFrom(addr.WithZone(""), addr.BitLen())
		if addr.Zone() != "" {
			return netip.Prefix{}, errors.New("an address has no zone here")
		}
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("an IPv4 address is written as such, not within an IPv6 address: %s", prefix.Addr().Unmap())
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("the address of a network has no bits beyond its length: write %s", prefix.Masked())
	}
	return prefix, nil
}

// forName tells whether the rule is about a name.
func (r *rule) forName(name string) bool {
	switch {
	case r.prefix.IsValid():
		return false
	case r.name == "":
		return true
	case r.below:
		return strings.HasSuffix(name, "."+r.name)
	}
	return name == r.name
}

func (r *rule) forPort(port int) bool { return r.ports == nil || slices.Contains(r.ports, port) }

// covers tells whether all that the other is about the rule is about, too.
func (r *rule) covers(other *rule) bool {
	if r.ports != nil {
		if other.ports == nil || slices.ContainsFunc(other.ports, func(port int) bool { return !r.forPort(port) }) {
			return false
		}
	}
	switch {
	case r.prefix.IsValid():
		return other.prefix.IsValid() && r.prefix.Bits() <= other.prefix.Bits() && r.prefix.Contains(other.prefix.Addr())
	case r.name == "":
		return true
	case other.prefix.IsValid() || other.name == "":
		return false
	case other.below:
		return r.below && (other.name == r.name || r.forName(other.name))
	}
	return r.forName(other.name)
}
