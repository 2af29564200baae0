package rules

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// TestSecretsAreBound puts a claim's own secrets into its layer, where they stay when its rules change and go without their key into what is restored.
func TestSecretsAreBound(t *testing.T) {
	own := func(hosts ...string) []wire.BoundSecret {
		return []wire.BoundSecret{{Name: "own", Hosts: hosts, Header: "X-Key", Secret: "t0ken"}}
	}
	const layer = `{"bound":[{"name":"own","hosts":["a.test"]}],"key":"k"}]`
	for _, c := range []struct {
		what, has string
		join      *wire.NetworkRules
		own       []wire.BoundSecret
		want      string
		refused   string
	}{
		{"a claim that says nothing else", text("a.test"), nil, own("a.test"), `[{"mode":"door","allow":["a.test"]},` + layer, ""},
		{"beside rules", text("*"), &wire.NetworkRules{Deny: []string{"b.test"}}, own("a.test"), `[{"mode":"door","allow":["*"]},{"deny":["b.test"],` + layer[1:], ""},
		{"none", text("a.test"), nil, []wire.BoundSecret{}, `[{"mode":"door","allow":["a.test"]},{"bound":[],"key":"k"}]`, ""},
		{"none for nothing", "", nil, nil, "", ""},
		{"no network", "", nil, own("a.test"), "", `network.mode "none"`},
		{"port 443 is not allowed", text("a.test:80"), nil, own("a.test"), "", "bound_secrets[0]: hosts: [\"a.test\"]: no rule allows port 443"},
		{"the claim's rules do not allow it", text("*"), &wire.NetworkRules{Deny: []string{"a.test"}}, own("a.test"), "", "no rule allows port 443"},
		{"no network by its own wish", text("*"), &wire.NetworkRules{Mode: "none"}, own("a.test"), "", "no rule allows port 443"},
		{"the name of a template's", egress.Layers{{Mode: egress.Door, Secrets: []string{"own"}}}.String(), nil, own("a.test"), "", "template has a secret of that name"},
		{"an interface", egress.Layers{{Mode: egress.NIC}}.String(), nil, own("a.test"), "", "hold at a door"},
		{"a host that is none", text("*"), nil, own("127.1"), "", "127.1"},
	} {
		join, err := Claimed(c.join)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Bind(join, c.own, "k")(c.has)
		if c.refused != "" {
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %q, %v", c.what, got, err)
			}
			continue
		}
		if err != nil || got != c.want || strings.Contains(got, "t0ken") {
			t.Errorf("%s: %s, %v; want %s", c.what, got, err, c.want)
		}
	}

	claimed, err := Bind(nil, own("a.test"), "k")(text("a.test", "b.test"))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := Changed(wire.NetworkRules{Deny: []string{"b.test"}})
	if err != nil {
		t.Fatal(err)
	}
	after, err := changed(claimed)
	if err != nil || !slices.Equal(Keys(after), []string{"k"}) || !strings.Contains(after, `"deny":["b.test"]`) {
		t.Errorf("after a change of its rules: %s, %v", after, err)
	}
	restored, err := Restored(nil, after)
	if err != nil {
		t.Fatal(err)
	}
	again, err := restored(text("a.test"))
	if err != nil || len(Keys(again)) > 0 || !strings.Contains(again, `"bound":[{"name":"own"`) {
		t.Errorf("restored: %s, %v", again, err)
	}
	given, err := Bind(nil, own("a.test"), "k2")(again)
	if err != nil || !slices.Equal(Keys(given), []string{"k2"}) {
		t.Errorf("given again: %s, %v", given, err)
	}
}
