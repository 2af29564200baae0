package egress

import (
	"fmt"
	"slices"
)

// Bound is a secret of a claim's own, and the names whose requests are sent with it. What it is made of is in the daemon's memory only.
type Bound struct {
	Name  string   `json:"name"`
	Hosts []string `json:"hosts"`
}

// Binding has other secrets of a claim's own in place of those that it has, and a key to what they are made of.
func (l Layers) Binding(bound []Bound, key string) Layers {
	joined := slices.Clone(l)
	if len(joined) < 2 {
		joined = append(joined, Policy{})
	}
	last := &joined[len(joined)-1]
	last.Bound, last.Key = bound, key
	return joined
}

// Keys are those of all layers.
func (l Layers) Keys() (keys []string) {
	for _, p := range l {
		if p.Key != "" {
			keys = append(keys, p.Key)
		}
	}
	return keys
}

// bind has the secrets of a layer count, if it says anything of them.
func (r *Rules) bind(p Policy) error {
	if p.Bound == nil {
		return nil
	}
	r.bound, r.key = nil, p.Key
	for _, b := range p.Bound {
		own := Bound{Name: b.Name}
		for _, host := range b.Hosts {
			name, err := ParseHost(host)
			if err != nil {
				return fmt.Errorf("secret %s: %w", quote(b.Name), err)
			}
			own.Hosts = append(own.Hosts, name)
		}
		r.bound = append(r.bound, own)
	}
	return nil
}

// Bound are the claim's own secrets, with the names in their common form, and the key to what they are made of.
func (r *Rules) Bound() (bound []Bound, key string) { return r.bound, r.key }
