package rules

import (
	"slices"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// Bind adds secrets of a claim's own to what join makes of its network, in place of those that it has; without a join to what it is. The key leads the
// daemon to what they are made of.
func Bind(join Join, own []wire.BoundSecret, key string) Join {
	bound := []egress.Bound{}
	for _, s := range own {
		bound = append(bound, egress.Bound{Name: s.Name, Hosts: s.Hosts})
	}
	return func(has string) (text string, err error) {
		if join != nil {
			if has, err = join(has); err != nil {
				return "", err
			}
		}
		layers, err := egress.ParseLayers(has)
		if err != nil {
			return "", err
		}
		if len(layers) == 0 && len(bound) == 0 {
			return has, nil
		}
		if len(layers) == 0 {
			return "", invalid("bound_secrets: there is none: the claim's template has network.mode %q", egress.None)
		}
		layers = layers.Binding(bound, key)
		return layers.String(), checkBound(layers, bound)
	}
}

// checkBound refuses secrets that nothing could be sent with.
func checkBound(layers egress.Layers, bound []egress.Bound) error {
	compiled, err := egress.Compile(layers)
	if err != nil {
		return invalid("bound_secrets: %v", err)
	}
	for i, b := range bound {
		if slices.Contains(compiled.Secrets(), b.Name) {
			return invalid("bound_secrets[%d]: name: %q: the template has a secret of that name", i, b.Name)
		}
		if !slices.ContainsFunc(b.Hosts, func(host string) bool { return allowsHTTPS(compiled, host) }) {
			return invalid("bound_secrets[%d]: hosts: %q: no rule allows port 443 of any of them", i, b.Hosts)
		}
	}
	return nil
}

func allowsHTTPS(rules *egress.Rules, host string) bool {
	name, err := egress.ParseHost(host)
	return err == nil && rules.Name(name, 443).Allowed
}

// Keys are those that lead from a network to what secrets are made of.
func Keys(network string) []string {
	layers, err := egress.ParseLayers(network)
	if err != nil {
		return nil // nothing goes by it then
	}
	return layers.Keys()
}
