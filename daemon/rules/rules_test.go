package rules

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

func text(allow ...string) string {
	return egress.Layers{{Mode: egress.Door, Allow: allow}}.String()
}

func TestClaimsNarrow(t *testing.T) {
	for _, c := range []struct {
		name, has string
		own       *wire.NetworkRules
		names     []string // that may be reached
		refused   string
	}{
		{"nothing said", text("a.test", "b.test"), nil, []string{"a.test", "b.test"}, ""},
		{"one name", text("a.test", "b.test"), &wire.NetworkRules{Allow: []string{"b.test", "c.test"}}, []string{"b.test"}, ""},
		{"an empty list", text("a.test"), &wire.NetworkRules{Allow: []string{}}, nil, ""},
		{"none", text("a.test"), &wire.NetworkRules{Mode: "none"}, nil, ""},
		{"as it is", text("a.test"), &wire.NetworkRules{Mode: "door"}, []string{"a.test"}, ""},
		{"nothing of nothing", "", nil, nil, ""},
		{"none of nothing", "", &wire.NetworkRules{Mode: "none"}, nil, ""},
		{"a door that there is not", "", &wire.NetworkRules{Mode: "door"}, nil, `template has network.mode "none"`},
		{"rules for nothing", "", &wire.NetworkRules{Deny: []string{"a.test"}}, nil, `template has network.mode "none"`},
		{"an empty list of nothing", "", &wire.NetworkRules{Allow: []string{}}, nil, `template has network.mode "none"`},
		{"no such mode", text("a.test"), &wire.NetworkRules{Mode: "nic"}, nil, `mode "nic"`},
		{"limits of an interface", egress.Layers{{Mode: egress.NIC}}.String(), &wire.NetworkRules{MaxBytes: 9}, nil, `hold at a door`},
		{"none, but rules", text("a.test"), &wire.NetworkRules{Mode: "none", Allow: []string{"a.test"}}, nil, "stands alone"},
		{"a bad rule", text("a.test"), &wire.NetworkRules{Allow: []string{"a.test", "127.1"}}, nil, `allow[1]: rule "127.1"`},
		{"a void rule", text("a.test"), &wire.NetworkRules{Allow: []string{"a.test"}, Deny: []string{"*"}}, nil, "allows nothing"},
		{"no such preset", text("a.test"), &wire.NetworkRules{Preset: []string{"x"}}, nil, "no preset"},
		{"far too much", text("a.test"), &wire.NetworkRules{Allow: []string{strings.Repeat("a", 60) + "." + strings.Repeat("b", 9000)}}, nil, "more than"},
	} {
		join, err := Claimed(c.own)
		var got string
		switch {
		case err == nil && join != nil:
			got, err = join(c.has)
		case err == nil:
			got = c.has
		}
		if c.refused != "" {
			if err == nil || !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %q, %v", c.name, got, err)
			}
			continue
		}
		shown, showErr := Show(got, nil)
		var names []string
		for _, n := range shown.Names {
			names = append(names, n.Name)
		}
		if err != nil || showErr != nil || !slices.Equal(names, c.names) || (shown.Mode == "door") != (len(names) > 0 || c.name == "an empty list") {
			t.Errorf("%s: %+v, %v, %v", c.name, shown, err, showErr)
		}
	}
}

func TestWhatIsRestoredHasNoMoreThanWasSaved(t *testing.T) {
	claimed := func(own *wire.NetworkRules) string {
		join, err := Claimed(own)
		if err != nil {
			t.Fatal(err)
		}
		got, err := join(text("a.test", "b.test", "c.test"))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	saved := claimed(&wire.NetworkRules{Allow: []string{"a.test", "b.test"}})
	for _, c := range []struct {
		name, has, saved string
		own              *wire.NetworkRules
		want             []string
	}{
		{"as it was", text("a.test", "b.test", "c.test"), saved, nil, []string{"a.test", "b.test"}},
		{"narrower", text("a.test", "b.test", "c.test"), saved, &wire.NetworkRules{Deny: []string{"a.test"}}, []string{"b.test"}},
		{"not wider", text("a.test", "b.test", "c.test"), saved, &wire.NetworkRules{Allow: []string{"*"}}, []string{"a.test", "b.test"}},
		{"of a template that has less now", text("b.test"), saved, nil, []string{"b.test"}},
		{"of a template that has none now", "", saved, nil, nil},
		{"saved without", text("a.test"), "", nil, nil},
	} {
		join, err := Restored(c.own, c.saved)
		if err != nil {
			t.Fatal(err)
		}
		got, err := join(c.has)
		shown, showErr := Show(got, nil)
		var names []string
		for _, n := range shown.Names {
			names = append(names, n.Name)
		}
		if err != nil || showErr != nil || !slices.Equal(names, c.want) {
			t.Errorf("%s: %+v, %v, %v", c.name, shown, err, showErr)
		}
	}
	if _, err := Restored(nil, "{"); err == nil {
		t.Error("rules that cannot be read are taken for none")
	}
}

func TestChangesReplaceTheClaimsOwn(t *testing.T) {
	has := egress.Layers{{Mode: egress.Door, Allow: []string{"a.test", "b.test"}}, {Deny: []string{"b.test"}}, {Allow: []string{"b.test"}}}.String()
	for _, c := range []struct {
		own  wire.NetworkRules
		want []string
	}{
		{wire.NetworkRules{}, []string{"a.test"}}, {wire.NetworkRules{Allow: []string{"a.test"}}, []string{"a.test"}}, {wire.NetworkRules{Mode: "none"}, nil},
	} {
		join, err := Changed(c.own)
		if err != nil {
			t.Fatal(err)
		}
		got, err := join(has)
		shown, showErr := Show(got, nil)
		var names []string
		for _, n := range shown.Names {
			names = append(names, n.Name)
		}
		if err != nil || showErr != nil || !slices.Equal(names, c.want) || len(shown.Layers) != 3 || shown.Layers[1].Of != "checkpoint" || shown.Layers[2].Of != "claim" {
			t.Errorf("%+v: %+v, %v, %v", c.own, shown, err, showErr)
		}
	}
	join, _ := Changed(wire.NetworkRules{Deny: []string{"a.test"}})
	if got, err := join(""); !errdefs.IsInvalidArgument(err) {
		t.Error(got, err)
	}
	join, _ = Changed(wire.NetworkRules{Mode: "none"})
	if got, err := join(""); got != "" || err != nil {
		t.Error(got, err)
	}
}
