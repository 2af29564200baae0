package egress

import (
	"fmt"
	"net/netip"
	"slices"
)

// Kinds of what decides.
const (
	KindName    = "name"    // a rule for names
	KindAddress = "address" // a rule for addresses
	KindSpecial = "special" // an address that is denied unless a rule names it
	KindDefault = "default" // no rule
	KindLearn   = "learn"   // no rule, but the layer learns
	KindSNI     = "sni"     // the name that a client of TLS asks for
	KindLimit   = "limit"   // a bound
	KindSecret  = "secret"  // what a request may not be that is sent with a secret
)

// Verdict is what the rules say of a connection.
type Verdict struct {
	Allowed bool
	Rule    string // that decided, as it was written; empty: none
	Kind    string // of what decided
	Text    string // one sentence that explains it
}

// Name says whether a sandbox may connect to a port of a name, which has the form that ParseHost gives, before the name is resolved. What it
// resolves to is for Address.
func (r *Rules) Name(name string, port int) Verdict {
	at := target(name, port)
	if v := r.closed(); v != nil {
		return *v
	}
	verdict := Verdict{Allowed: true, Kind: KindDefault, Text: "The rules allow " + at + "."}
	for i := range r.layers {
		l := &r.layers[i]
		v := l.judge(at, KindName, l.deny.forName(name, port), l.allow.forName(name, port))
		if !v.Allowed {
			return l.explain(v, name, port)
		}
		if v.Kind != KindDefault {
			verdict = v
		}
	}
	return verdict
}

// Address says whether a sandbox may connect to an address, of a name that it asked for or, without one, of its own. It is asked of the address that
// is really connected to. An address of a name has to be allowed by name, and by address only if it is special.
func (r *Rules) Address(name string, to netip.AddrPort) Verdict {
	return r.address(name, to, "")
}

// HostAddress is Address for one that the host itself has: such an address is special, too.
func (r *Rules) HostAddress(name string, to netip.AddrPort) Verdict {
	return r.address(name, to, "an address of this host")
}

func (r *Rules) address(name string, to netip.AddrPort, what string) Verdict {
	if v := r.closed(); v != nil {
		return *v
	}
	if !to.IsValid() || to.Port() == 0 {
		return Verdict{Kind: KindSpecial, Text: "It is no address that can be connected to."}
	}
	var verdict Verdict
	if name != "" {
		if verdict = r.Name(name, int(to.Port())); !verdict.Allowed {
			return verdict
		}
	}
	for i := range r.layers {
		v := r.layers[i].address(name, to, what)
		if !v.Allowed {
			return v
		}
		if verdict.Kind == "" || v.Kind == KindAddress {
			verdict = v
		}
	}
	return verdict
}

// closed is the verdict on everything where there is no network; nil where there is one.
func (r *Rules) closed() *Verdict {
	if len(r.layers) == 0 {
		return &Verdict{Kind: KindDefault, Text: "The sandbox has no network."}
	}
	for _, l := range r.layers {
		if l.off {
			return &Verdict{Kind: KindDefault, Text: fmt.Sprintf("The sandbox has no network: the mode of %s is %q.", l.who, None)}
		}
	}
	return nil
}

// address judges by one layer.
func (l *layer) address(name string, to netip.AddrPort, what string) Verdict {
	port := int(to.Port())
	all := forms(to.Addr())
	at := netip.AddrPortFrom(all[0], to.Port()).String()
	for _, addr := range all {
		if d := l.deny.forAddress(addr, port, nil); d != nil {
			return l.denied(d, at, KindAddress)
		}
		if is := whatIs(addr); is != "" {
			what = is
		}
		if what != "" && !l.opens(addr, port) {
			return l.special(at, addr, all[0], what)
		}
	}
	if name != "" {
		return Verdict{Allowed: true, Kind: KindDefault, Text: "The rules allow " + at + "."}
	}
	return l.explain(l.judge(at, KindAddress, l.deny.forLiteral(all[0], port), l.allow.forLiteral(all[0], port)), all[0].String(), port)
}

// opens tells whether the layer lets an address pass that is special: by a rule for a network that holds nothing else, or for one that holds an
// address which is special only here. So 0.0.0.0/0 opens neither 10.0.0.1 nor the host.
func (l *layer) opens(addr netip.Addr, port int) bool {
	if l.all && !l.learn {
		return true // the layer before has decided
	}
	everywhere := whatIs(addr) != ""
	return l.allow.forAddress(addr, port, func(p netip.Prefix) bool { return p.Bits() > 0 && (!everywhere || withinSpecial(p)) }) != nil
}

// judge decides by the rules that are about something, which may be nil: what is denied is not allowed.
func (l *layer) judge(at, kind string, denies, allows *rule) Verdict {
	if denies != nil {
		return l.denied(denies, at, kind)
	}
	if allows != nil {
		return Verdict{Allowed: true, Rule: allows.text, Kind: kind, Text: fmt.Sprintf("The rule %q of %s allows %s.", allows.text, l.who, at)}
	}
	switch {
	case l.learn:
		return Verdict{Allowed: true, Kind: KindLearn, Text: fmt.Sprintf("No rule of %s is about %s, which is allowed since it learns.", l.who, at)}
	case l.all:
		return Verdict{Allowed: true, Kind: KindDefault, Text: "The rules allow " + at + "."}
	}
	return Verdict{Kind: KindDefault, Text: fmt.Sprintf("No rule of %s allows %s.", l.who, at)}
}

func (l *layer) denied(by *rule, at, kind string) Verdict {
	return Verdict{Rule: by.text, Kind: kind, Text: fmt.Sprintf("The rule %q of %s denies %s.", by.text, l.who, at)}
}

func (l *layer) special(at string, addr, shown netip.Addr, what string) Verdict {
	through := ""
	if addr != shown {
		through = fmt.Sprintf(" leads to %s, which", addr)
	}
	return Verdict{Kind: KindSpecial, Text: fmt.Sprintf("%s%s is %s, and no rule of %s allows it by its network.", at, through, what, l.who)}
}

// explain says by which ports a host may be reached, if one was denied for its port only.
func (l *layer) explain(v Verdict, host string, port int) Verdict {
	if v.Allowed || v.Kind != KindDefault {
		return v
	}
	ports := l.allow.ports(host)
	if len(ports) > 0 {
		slices.Sort(ports)
		v.Text = fmt.Sprintf("The rules of %s allow %s at other ports than %d: %d.", l.who, host, port, slices.Compact(ports))
	}
	return v
}
