// Package rules joins the rules of networks that clients send to those that sandboxes have, and shows them.
package rules

import (
	"fmt"
	"slices"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// Join makes of the network that a sandbox has that of its claim; see pool.Request.
type Join func(has string) (string, error)

// Claimed adds a claim's own rules; without any it is nil. What is wrong with them is of class InvalidArgument.
func Claimed(own *wire.NetworkRules) (Join, error) {
	if own == nil {
		return nil, nil
	}
	return with(own, egress.Layers.With)
}

// Restored is Claimed for a claim that goes on from a checkpoint, with the network of the claim that was saved.
func Restored(own *wire.NetworkRules, saved string) (Join, error) {
	before, err := egress.ParseLayers(saved)
	if err != nil {
		return nil, fmt.Errorf("network of the checkpoint: %w", err)
	}
	return with(own, func(has egress.Layers, p egress.Policy) egress.Layers {
		if len(before) == 0 {
			return nil
		}
		return has.Restored(before).With(p)
	})
}

// Changed puts other rules of its own in place of a claim's.
func Changed(own wire.NetworkRules) (Join, error) {
	return with(&own, egress.Layers.Replaced)
}

// with has join put a claim's own rules to those of its sandbox, if that has any: a network that there is not stays away.
func with(own *wire.NetworkRules, join func(has egress.Layers, own egress.Policy) egress.Layers) (Join, error) {
	p, err := parse(own)
	if err != nil {
		return nil, err
	}
	return func(has string) (string, error) {
		layers, err := egress.ParseLayers(has)
		if err != nil {
			return "", err
		}
		if len(layers) > 0 {
			layers = join(layers, p)
		}
		if len(layers) == 0 {
			return "", checkClosed(p)
		}
		compiled, err := egress.Compile(layers)
		if err != nil {
			return "", invalid("%v", err)
		}
		for _, name := range p.Secrets {
			if has := compiled.Secrets(); !slices.Contains(has, name) {
				return "", invalid("secrets: %.80q is none that may be used here: those are %q", name, has)
			}
		}
		return layers.String(), nil
	}, nil
}

// checkClosed refuses rules of a claim that has no network, if they say anything but that.
func checkClosed(own egress.Policy) error {
	if own.Mode == egress.None || own.Mode == "" && own.Same() {
		return nil
	}
	return invalid("there is none: its template has network.mode %q, so a claim of it can ask for that mode only", egress.None)
}

// parse checks rules of a client.
func parse(own *wire.NetworkRules) (egress.Policy, error) {
	if own == nil {
		return egress.Policy{}, nil
	}
	p := egress.Policy{
		Mode: own.Mode, Preset: own.Preset, Allow: own.Allow, Deny: own.Deny, Secrets: own.Secrets,
		MaxConnections: own.MaxConnections, Rate: own.Rate, MaxBytes: own.MaxBytes,
	}
	rest := p
	if rest.Mode = ""; p.Mode == egress.None && !rest.Same() {
		return p, invalid("mode %q stands alone: rules beside it mean nothing", egress.None)
	}
	if p.Mode == egress.NIC {
		return p, invalid("mode %q is a template's: a claim asks for %q or %q", egress.NIC, egress.None, egress.Door)
	}
	if faults := p.Check(); len(faults) > 0 {
		return p, invalid("%v", faults[0])
	}
	if _, err := egress.Compile(egress.Layers{p}); err != nil {
		return p, invalid("%v", err)
	}
	return p, nil
}

func invalid(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage("network: " + fmt.Sprintf(format, args...))
}

// Show says what a network is. Of one that learns it asks what it has learned.
func Show(text string, learned func() ([]string, error)) (wire.Network, error) {
	layers, err := egress.ParseLayers(text)
	if err != nil {
		return wire.Network{}, err
	}
	rules, err := egress.Compile(layers)
	if err != nil {
		return wire.Network{}, fmt.Errorf("compile rules: %w", err)
	}
	most := rules.Limits()
	shown := wire.Network{Mode: egress.None, Layers: []wire.NetworkLayer{}, Names: []wire.NetworkName{}, MaxConnections: most.Connections, Rate: most.Rate, MaxBytes: most.Bytes}
	if rules.Open() {
		shown.Mode = layers[0].Mode
	}
	if rules.Learns() {
		if shown.Learned, err = learned(); err != nil {
			return wire.Network{}, err
		}
	}
	for i, p := range layers {
		shown.Layers = append(shown.Layers, wire.NetworkLayer{
			Of: egress.Whose(i, len(layers)), Learn: p.Learn,
			NetworkRules: wire.NetworkRules{
				Mode: p.Mode, Preset: p.Preset, Allow: p.Allow, Deny: p.Deny, Secrets: p.Secrets,
				MaxConnections: p.MaxConnections, Rate: p.Rate, MaxBytes: p.MaxBytes,
			},
		})
	}
	for _, name := range rules.Table() {
		shown.Names = append(shown.Names, wire.NetworkName{Name: name.Name, Ports: name.Ports})
	}
	return shown, nil
}
