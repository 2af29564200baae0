package configs

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"sandpool/lifetime"
	"sandpool/runtime/egress"
)

// Network is how the daemon reaches what sandboxes connect to.
type Network struct {
	Resolvers      []string          `toml:"resolvers"` // ADDRESS:PORT of DNS servers; empty: the host's
	ResolveTimeout lifetime.Duration `toml:"resolve_timeout"`
	ConnectTimeout lifetime.Duration `toml:"connect_timeout"`
	MaxConnections int               `toml:"max_connections"` // of all sandboxes, open at once
}

// TemplateNetwork is what a template's sandboxes may connect to: egress.Policy, by the keys of the configuration.
type TemplateNetwork struct {
	Mode           string   `toml:"mode"`   // egress.None, egress.Door or egress.NIC
	Preset         []string `toml:"preset"` // lists of rules that are added to Allow
	Allow          []string `toml:"allow"`
	Deny           []string `toml:"deny"`
	ProxyEnv       bool     `toml:"proxy_env"` // the usual variables name the sandbox's proxy
	Learn          bool     `toml:"learn"`     // what no rule denies and is not special is allowed
	MaxConnections int      `toml:"max_connections"`
	Secrets        []string `toml:"secrets"`   // names of those of Config that requests are sent with
	Rate           int      `toml:"rate"`      // bytes a second in each direction; 0: any number
	MaxBytes       int      `toml:"max_bytes"` // of each claim, in both directions together; 0: any number
}

// Layers are the rules of the template's sandboxes; none without a network.
func (n TemplateNetwork) Layers() egress.Layers {
	if l := (egress.Layers{n.policy()}); l.Open() {
		return l
	}
	return nil
}

func (n TemplateNetwork) policy() egress.Policy {
	return egress.Policy{
		Mode: n.Mode, Preset: n.Preset, Allow: n.Allow, Deny: n.Deny, ProxyEnv: n.ProxyEnv, Learn: n.Learn, MaxConnections: n.MaxConnections,
		Secrets: n.Secrets, Rate: n.Rate, MaxBytes: n.MaxBytes,
	}
}

// TemplateWithInterface is the first template, by name, whose sandboxes have network interfaces.
func (c Config) TemplateWithInterface() (name string, ok bool) {
	for _, name := range slices.Sorted(maps.Keys(c.Templates)) {
		if c.Templates[name].Network.Layers().NIC() {
			return name, true
		}
	}
	return "", false
}

func (n TemplateNetwork) check(key string, found *faults) {
	found.oneOf(join(key, "mode"), n.Mode, egress.None, egress.Door, egress.NIC)
	limits := found.number(join(key, "max_connections"), n.MaxConnections, 1, maxDoor)
	limits = found.number(join(key, "rate"), n.Rate, 0, maxBytes) && limits
	limits = found.number(join(key, "max_bytes"), n.MaxBytes, 0, maxBytes) && limits
	if n.Mode == egress.None {
		n.checkUnused(key, found)
		return
	}
	faults := n.policy().Check()
	for _, fault := range faults {
		found.add(fmt.Sprintf("%s[%d]", join(key, fault.List), fault.Index), "%v", fault.Err)
	}
	if _, err := egress.Compile(n.Layers()); err != nil && len(faults) == 0 && limits {
		found.add(key, "%v", err)
	}
}

// maxDoor is how many connections one sandbox may have open at once.
const maxDoor = 1024

// maxBytes is the most that may be given as a number of bytes.
const maxBytes = 1 << 50

// checkUnused refuses rules that would do nothing.
func (n TemplateNetwork) checkUnused(key string, found *faults) {
	for name, given := range map[string]bool{
		"preset": len(n.Preset) > 0, "allow": len(n.Allow) > 0, "deny": len(n.Deny) > 0, "proxy_env": n.ProxyEnv, "learn": n.Learn,
		"secrets": len(n.Secrets) > 0, "rate": n.Rate > 0, "max_bytes": n.MaxBytes > 0,
	} {
		if given {
			found.add(join(key, name), "means nothing with mode %q: want mode = %q or %q beside it", egress.None, egress.Door, egress.NIC)
		}
	}
}

func (n Network) check(found *faults) {
	for i, text := range n.Resolvers {
		if address, err := netip.ParseAddrPort(text); err != nil || address.Port() == 0 {
			found.add(fmt.Sprintf("network.resolvers[%d]", i), `%q: want an address and a port, as in "192.0.2.53:53"`, text)
		}
	}
	found.duration("network.resolve_timeout", n.ResolveTimeout, 1, maxTimeout)
	found.duration("network.connect_timeout", n.ConnectTimeout, 1, maxTimeout)
	found.number("network.max_connections", n.MaxConnections, 1, maxConnections)
}
