package daemon

import (
	"strings"
	"testing"

	"sandpool/daemon/network"
	"sandpool/daemon/rules"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/egress"
)

// TestSecretsEndWithTheirClaim has what a claim's secrets are made of be there until the claim has ended, and no longer.
func TestSecretsEndWithTheirClaim(t *testing.T) {
	p := &parts{network: network.New(network.Options{}), restorer: &restorer{store: openStore(t)}}
	own := []wire.BoundSecret{{Name: "own", Hosts: []string{"a.test"}, Header: "X-Key", Secret: "t0ken"}}
	_, err := networks{p.network}.Keep([]wire.BoundSecret{{Name: "own", Hosts: []string{"a.test"}, Header: "Host", Secret: "t0ken"}})
	if err == nil || !strings.Contains(err.Error(), "bound_secrets[0].header") || strings.Contains(err.Error(), "t0ken") {
		t.Error(err)
	}
	key, err := networks{p.network}.Keep(own)
	if err != nil {
		t.Fatal(err)
	}
	text, err := rules.Bind(nil, own, key)(egress.Layers{{Mode: egress.Door, Allow: []string{"a.test"}}}.String())
	if err != nil {
		t.Fatal(err)
	}
	layers, err := egress.ParseLayers(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.network.Set("sandbox", layers); err != nil {
		t.Fatal(err)
	}
	lost := func() bool {
		var shown wire.Network
		p.network.Describe("sandbox", &shown)
		return len(shown.Secrets) != 1 || shown.Secrets[0].Lost
	}
	if lost() {
		t.Error("it is lost before the claim has ended")
	}
	p.ended(pool.Claim{Grant: pool.Grant{ID: "c-1"}, Network: text})
	if !lost() {
		t.Error("it is there after the claim has ended")
	}
}
