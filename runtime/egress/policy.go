// Package egress is the language of the rules by which sandboxes may connect to what is outside, and what follows from them.
package egress

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Modes of a sandbox's network.
const (
	None = "none" // loopback only
	Door = "door" // TCP by name, through the daemon
	NIC  = "nic"  // a network interface: UDP too, and literal addresses
)

// MaxRules is how many rules a layer may have, with those of its presets.
const MaxRules = 512

// MaxText is how long a layer may be, in bytes, and MaxLabels how long all layers of a sandbox: they are in its labels, as JSON.
const (
	MaxText   = 8000
	MaxLabels = 4 * MaxText
)

// MaxLayers is how many layers a sandbox may have: each restore of a claim with rules of its own adds one.
const MaxLayers = 16

// Policy is one layer of rules, as the configuration, the API and the label have it.
type Policy struct {
	Mode           string   `json:"mode,omitempty"`            // None, Door or NIC; empty: None in the first layer, and as the layer before in others
	Preset         []string `json:"preset,omitempty"`          // names of presets, whose rules are added to Allow
	Allow          []string `json:"allow,omitzero"`            // none at all, no preset, and a layer before: that one's; empty: nothing
	Deny           []string `json:"deny,omitempty"`            // what is denied though Allow has it
	ProxyEnv       bool     `json:"proxy_env,omitempty"`       // the variables of the proxy are set; of the first layer only
	Learn          bool     `json:"learn,omitempty"`           // all that is not denied and not special is allowed
	MaxConnections int      `json:"max_connections,omitempty"` // open at once; 0: as the layer before, or the daemon's bound
	Secrets        []string `json:"secrets,omitzero"`          // names of those that requests are sent with; none at all, and a layer before: that one's
	Rate           int      `json:"rate,omitempty"`            // bytes a second in each direction; 0: as the layer before, or any number
	MaxBytes       int      `json:"max_bytes,omitempty"`       // in both directions together; 0: as the layer before, or any number
	Bound          []Bound  `json:"bound,omitzero"`            // a claim's own secrets; none at all: those of the layer before
	Key            string   `json:"key,omitempty"`             // by which the daemon finds what those of Bound are made of, as long as it has that
}

// limits tells whether the layer allows less than all that is not denied.
func (p Policy) limits() bool {
	return !p.Learn && (p.Allow != nil || len(p.Preset) > 0)
}

// size is no less than the layer's length as JSON.
func (p Policy) size() int {
	n := 300 // names of fields, and all but the lists
	lists := [][]string{p.Preset, p.Allow, p.Deny, p.Secrets}
	for _, b := range p.Bound {
		n += 32 + len(b.Name)
		lists = append(lists, b.Hosts)
	}
	for _, list := range lists {
		for _, text := range list {
			n += len(text) + 3
		}
	}
	return n
}

// Same tells whether the layer, behind others, changes nothing.
func (p Policy) Same() bool {
	return p.Mode != None && !p.Learn && !p.limits() && len(p.Deny) == 0 && p.Secrets == nil && p.Bound == nil && p.MaxConnections == 0 && p.Rate == 0 && p.MaxBytes == 0
}

// behind is a first layer such that it means the same behind others, where a list that there is not would mean what those have.
func (p Policy) behind() Policy {
	if !p.limits() && !p.Learn {
		p.Allow = []string{}
	}
	if p.Secrets == nil {
		p.Secrets = []string{}
	}
	p.ProxyEnv = false
	return p
}

// Layers are the rules of a sandbox: its template's, then those of claims, of which the last is its own. What every layer allows is allowed, so a
// layer narrows and never widens. Without any there is no network.
type Layers []Policy

// Open tells whether a sandbox with these layers has a network at all: whether the first one says so.
func (l Layers) Open() bool { return len(l) > 0 && isOpen(l[0].Mode) }

// NIC tells whether it has an interface, which stays for as long as it lives.
func (l Layers) NIC() bool { return len(l) > 0 && l[0].Mode == NIC }

func isOpen(mode string) bool { return mode == Door || mode == NIC }

// With puts a claim's own layer behind those that say something.
func (l Layers) With(own Policy) Layers {
	var joined Layers
	for i, p := range l {
		if i == 0 || !p.Same() {
			joined = append(joined, p)
		}
	}
	return append(joined, own)
}

// Restored are the layers of a claim that goes on from a checkpoint, whose template has these now: with those of the claim that was saved, so that
// it has no more than that had. What its secrets are made of is another claim's. The claim's own layer is still to come.
func (l Layers) Restored(saved Layers) Layers {
	joined := slices.Clone(l)
	for i, p := range saved {
		p.Key = ""
		if i == 0 {
			p = p.behind()
		}
		same := func(other Policy) bool { return Layers{other}.String() == Layers{p}.String() }
		has := len(l) > 0 && same(l[0].behind()) || slices.ContainsFunc(joined, same)
		if !p.Same() && !has {
			joined = append(joined, p)
		}
	}
	return joined
}

// Replaced has other rules of a claim's own in place of those of the last layer. The first stays: it is the template's.
func (l Layers) Replaced(own Policy) Layers {
	if last := len(l) - 1; last > 0 {
		own.Bound, own.Key = l[last].Bound, l[last].Key
		l = l[:last]
	}
	return append(append(Layers(nil), l...), own)
}

// String is what the label has: empty without a layer.
func (l Layers) String() string {
	if len(l) == 0 {
		return ""
	}
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings, numbers and booleans have a form
	}
	return string(text)
}

// ParseLayers reads what String wrote.
func ParseLayers(text string) (l Layers, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return nil, fmt.Errorf("read the rules of a network: %w", err)
	}
	if len(l) > MaxLayers {
		return nil, errors.New("read the rules of a network: too many layers")
	}
	return l, nil
}
