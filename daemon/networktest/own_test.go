package networktest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sandpool/daemon/wire"
	"sandpool/scripts/outside"
)

const ownTemplate = `
[network]
resolvers = ["` + outside.Resolver + `"]

[templates.default]
image = "file://%s"

[templates.default.network]
mode = "door"
allow = ["` + outside.Page + `"]

[pools.default]
target = 1
max = 4
`

// TestOwnSecretsStayOutside has a claim's requests be sent with a secret that it brought along, through a change of rules, a checkpoint, an end of the
// daemon and a new secret. Without it none is sent, and it is nowhere on disk.
func TestOwnSecretsStayOutside(t *testing.T) {
	d := start(t, fmt.Sprintf(ownTemplate, host.Image))
	own := func(text string) []wire.BoundSecret {
		return []wire.BoundSecret{{Name: "api", Hosts: []string{outside.Page}, Header: "X-Api-Key", Value: "Key {secret}", Secret: text, CA: string(d.World.CA)}}
	}
	digest := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte("Key "+text))) }
	const ask = "wget -q -O - --header 'X-Api-Key: mine' http://" + outside.Page + "/digest/x-api-key"
	const refused = "wget -O - --header 'X-Api-Key: mine' http://" + outside.Page + "/digest/x-api-key"
	id := d.ClaimID(t, wire.ClaimRequest{BoundSecrets: own(hidden)})
	d.Wants(t, id, ask, digest(hidden))
	if _, err := d.SetNetwork(t.Context(), id, wire.NetworkRules{MaxConnections: 9}); err != nil {
		t.Fatal(err)
	}
	d.Wants(t, id, ask, digest(hidden))
	saved, err := d.Checkpoint(t.Context(), id, wire.CheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	d.Wants(t, d.ClaimID(t, wire.ClaimRequest{Checkpoint: saved.ID}), refused, "403")
	d.Wants(t, d.ClaimID(t, wire.ClaimRequest{Checkpoint: saved.ID, BoundSecrets: own("another")}), ask, digest("another"))
	if found := holders(t, hidden); len(found) > 0 {
		t.Errorf("on the host it is in %q", found)
	}
	if found := holders(t, `"bound":[{"name":"api"`); len(found) == 0 {
		t.Error("the search on the host does not find the label")
	}

	d.Process.Kill()
	d.Spawn(t)
	d.Wants(t, id, refused, "403")
	why, err := d.WhyNetwork(t.Context(), id, outside.Page, 80)
	network, errNetwork := d.Network(t.Context(), id)
	lost := []wire.NetworkSecret{{Name: "api", Hosts: []string{outside.Page}, Own: true, Lost: true}}
	if errors.Join(err, errNetwork) != nil || why.Allowed || !strings.Contains(why.Message, "egress bind") || fmt.Sprint(network.Secrets) != fmt.Sprint(lost) {
		t.Errorf("why %+v, %v; network %+v, %v", why, err, network, errNetwork)
	}
	if _, err := d.BindSecrets(t.Context(), id, own("new one")); err != nil {
		t.Fatal(err)
	}
	d.Wants(t, id, ask, digest("new one"))
	if _, err := d.BindSecrets(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	d.Wants(t, id, ask, fmt.Sprintf("%x", sha256.Sum256([]byte("mine"))))
	var log []wire.NetworkEntry
	err = d.NetworkLog(t.Context(), id, 0, false, func(e wire.NetworkEntry) error {
		log = append(log, e)
		return nil
	})
	if err != nil || !slices.ContainsFunc(log, func(e wire.NetworkEntry) bool { return e.Result == wire.NetworkDenied && e.Kind == "secret" }) {
		t.Errorf("log %+v, %v", log, err)
	}
}
