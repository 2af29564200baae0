package egress

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func compile(t *testing.T, l ...Policy) *Rules {
	t.Helper()
	r, err := Compile(l)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func door(allow, deny []string) Policy { return Policy{Mode: Door, Allow: allow, Deny: deny} }

// TestLayersNarrowSecretsAndLimits has each layer leave no more secrets and bytes than those before it, also where one goes on from a checkpoint.
func TestLayersNarrowSecretsAndLimits(t *testing.T) {
	template := Policy{Mode: Door, Secrets: []string{"a", "b"}, Rate: 9, MaxBytes: 90}
	for _, c := range []struct {
		what    string
		layers  Layers
		secrets string
		limits  Limits
	}{
		{"of a template", Layers{template}, "a b", Limits{Rate: 9, Bytes: 90}},
		{"nothing said", Layers{template}.With(Policy{}), "a b", Limits{Rate: 9, Bytes: 90}},
		{"less", Layers{template}.With(Policy{Secrets: []string{"b", "c"}, Rate: 8, MaxBytes: 80, MaxConnections: 7}), "b", Limits{7, 8, 80}},
		{"more", Layers{template}.With(Policy{Secrets: []string{"a", "b", "c"}, Rate: 10, MaxBytes: 100}), "a b", Limits{Rate: 9, Bytes: 90}},
		{"none", Layers{template}.With(Policy{Secrets: []string{}}), "", Limits{Rate: 9, Bytes: 90}},
		{"less before", Layers{template, {Secrets: []string{"b"}}}.With(Policy{}), "b", Limits{Rate: 9, Bytes: 90}},
		{"a lower rate before", Layers{template, {Rate: 8}}.With(Policy{}), "a b", Limits{Rate: 8, Bytes: 90}},
		{"fewer bytes before", Layers{template, {MaxBytes: 80}}.With(Policy{}), "a b", Limits{Rate: 9, Bytes: 80}},
		{"of a template without", Layers{{Mode: Door}}.With(Policy{Secrets: []string{"a"}}), "", Limits{}},
		{"restored", Layers{template}.Restored(Layers{template, {Secrets: []string{"a"}, MaxBytes: 8}}).With(Policy{}), "a", Limits{Rate: 9, Bytes: 8}},
		{"saved before there was one", Layers{template}.Restored(Layers{{Mode: Door}}).With(Policy{}), "", Limits{Rate: 9, Bytes: 90}},
		{"restored where there is none now", Layers{{Mode: Door}}.Restored(Layers{template}).With(Policy{}), "", Limits{Rate: 9, Bytes: 90}},
	} {
		read, err := ParseLayers(c.layers.String())
		if err != nil {
			t.Fatal(err)
		}
		r := compile(t, read...)
		if got := strings.Join(r.Secrets(), " "); got != c.secrets || r.Limits() != c.limits {
			t.Errorf("%s: %q %+v, want %q %+v", c.what, got, r.Limits(), c.secrets, c.limits)
		}
	}
}

func TestNamesAreAllowedByRulesOnly(t *testing.T) {
	r := compile(t, door([]string{"pypi.org", "*.Example.com:443", "db.example.net:5432,80", "*:8443", "10.0.0.0/8"}, []string{"bad.example.com", "*.worse.example.com:443"}))
	for _, c := range []struct {
		name    string
		port    int
		allowed bool
		rule    string
		kind    string
	}{
		{"pypi.org", 80, true, "pypi.org", KindName},
		{"pypi.org", 443, true, "pypi.org", KindName},
		{"pypi.org", 22, false, "", KindDefault},
		{"files.pypi.org", 443, false, "", KindDefault},
		{"example.com", 443, false, "", KindDefault},
		{"notexample.com", 443, false, "", KindDefault},
		{"a.example.com", 443, true, "*.Example.com:443", KindName},
		{"a.b.example.com", 443, true, "*.Example.com:443", KindName},
		{"a.example.com", 80, false, "", KindDefault},
		{"bad.example.com", 443, false, "bad.example.com", KindName},
		{"bad.example.com", 8443, false, "bad.example.com", KindName},
		{"x.bad.example.com", 443, true, "*.Example.com:443", KindName},
		{"x.worse.example.com", 443, false, "*.worse.example.com:443", KindName},
		{"x.worse.example.com", 8443, true, "*:8443", KindName},
		{"db.example.net", 5432, true, "db.example.net:5432,80", KindName},
		{"db.example.net", 443, false, "", KindDefault},
		{"anything", 8443, true, "*:8443", KindName},
	} {
		v := r.Name(c.name, c.port)
		if v.Allowed != c.allowed || v.Rule != c.rule || v.Kind != c.kind || v.Text == "" {
			t.Errorf("%s at port %d: %+v", c.name, c.port, v)
		}
	}
}

func TestWhatIsSpecialIsDeniedInEverySpelling(t *testing.T) {
	wide := compile(t, door([]string{"*", "0.0.0.0/0", "::/0", "a.test:80"}, nil))
	learns := compile(t, Policy{Mode: Door, Learn: true})
	for text := range strings.FieldsSeq(`
		0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 100.100.100.200 127.0.0.1 127.0.0.53 127.255.255.255
		169.254.0.1 169.254.169.254 169.254.170.2 168.63.129.16 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.88.99.1 192.168.0.1 192.168.255.255
		198.18.0.1 198.19.255.255 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.254 255.255.255.255
		:: ::1 ::2 ::127.0.0.1 ::a00:1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:0:127.0.0.1
		64:ff9b::127.0.0.1 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b::100.64.0.1 64:ff9b:1::1 64:ff9b:1::10.0.0.1 64:ff9b:1:ffff::808:808
		2002:7f00:1:: 2002:a00:1::1 2002:c0a8:1::1 2002:a9fe:a9fe:: 2001:0:a00:1::1 2001:0:808:808:0:0:f5ff:fffe 2001:0:808:808:0:0:80ff:fffe
		100::1 2001:2::1 2001:10::1 2001:20::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff01::1 ff02::1 ff05::2`) {
		addr := netip.MustParseAddr(text)
		for _, name := range []string{"", "a.test"} {
			for _, r := range []*Rules{wide, learns} {
				if v := r.Address(name, netip.AddrPortFrom(addr, 80)); v.Allowed || v.Kind != KindSpecial {
					t.Errorf("%s by the name %q: %+v", text, name, v)
				}
			}
		}
	}
	for text := range strings.FieldsSeq(`
		1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.0.0.1 128.0.0.1 169.253.1.1 169.255.0.1 172.15.0.1 172.32.0.1 192.167.1.1
		198.17.0.1 198.20.0.1 198.51.100.7 203.0.113.9 223.255.255.255 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 2001:0:808:808:0:0:f7f7:f7f7
		2606:4700::1111 2001:db8::1 2001:4860:4860::8888`) {
		for _, name := range []string{"", "a.test"} {
			if v := wide.Address(name, netip.AddrPortFrom(netip.MustParseAddr(text), 80)); !v.Allowed {
				t.Errorf("%s by the name %q: %+v", text, name, v)
			}
		}
	}
}

func TestSpecialAddressesAreOpenedByTheirNetworkOnly(t *testing.T) {
	r := compile(t, door([]string{"db.internal:5432", "web.internal", "10.1.0.0/16", "127.0.0.1:80", "[fd00::1]:80", "8.0.0.0/7"}, []string{"10.1.9.0/24"}))
	for _, c := range []struct {
		name, to string
		allowed  bool
	}{
		{"db.internal", "10.1.2.3:5432", true},
		{"db.internal", "[::ffff:10.1.2.3]:5432", true},
		{"db.internal", "[64:ff9b::10.1.2.3]:5432", true},
		{"db.internal", "10.2.2.3:5432", false},
		{"db.internal", "10.1.9.3:5432", false},
		{"db.internal", "[64:ff9b::10.1.9.3]:5432", false},
		{"db.internal", "10.1.2.3:80", false}, // the name has no such port
		{"web.internal", "127.0.0.1:80", true},
		{"web.internal", "127.0.0.1:443", false},
		{"web.internal", "[fd00::1]:80", true},
		{"web.internal", "[fd00::2]:80", false},
		{"evil.test", "10.1.2.3:80", false}, // a network allows no name
		{"", "10.1.2.3:22", true},
		{"", "10.1.9.1:22", false},
		{"", "[64:ff9b::10.1.2.3]:22", false}, // no rule is about the gateway
		{"", "8.8.8.8:53", true},
		{"", "10.2.0.1:22", false},
		{"", "1.1.1.1:443", false},
		{"", "127.0.0.1:0", false},
	} {
		if v := r.Address(c.name, netip.MustParseAddrPort(c.to)); v.Allowed != c.allowed || v.Text == "" {
			t.Errorf("%s by %q: %+v", c.to, c.name, v)
		}
	}
	if v := r.Address("", netip.AddrPort{}); v.Allowed {
		t.Error("no address:", v)
	}
}

func TestTheHostsOwnAddressesNeedARule(t *testing.T) {
	own := netip.MustParseAddrPort("198.51.100.7:443")
	for _, c := range []struct {
		allow   string
		allowed bool
	}{{"*", false}, {"0.0.0.0/0", false}, {"198.51.100.0/24", true}, {"198.51.100.7:443", true}, {"198.51.100.7:80", false}} {
		r := compile(t, door([]string{"a.test", c.allow}, nil))
		for _, name := range []string{"", "a.test"} {
			if v := r.HostAddress(name, own); v.Allowed != c.allowed {
				t.Errorf("%s by %q: %+v", c.allow, name, v)
			}
		}
	}
	r := compile(t, door([]string{"64.0.0.0/2"}, nil)) // holds 127.0.0.0/8, and more
	if v := r.HostAddress("", netip.MustParseAddrPort("127.0.0.1:80")); v.Allowed {
		t.Error(v)
	}
}

func TestLayersNarrow(t *testing.T) {
	template := door([]string{"*.example.com", "pypi.org", "10.0.0.0/8"}, []string{"bad.example.com"})
	for _, c := range []struct {
		name  string
		layer Policy
		want  []string
	}{
		{"nothing said", Policy{}, []string{"a.example.com", "pypi.org", "10.0.0.1"}},
		{"names", Policy{Allow: []string{"pypi.org", "other.org"}}, []string{"pypi.org"}},
		{"a name below", Policy{Allow: []string{"a.example.com"}}, []string{"a.example.com"}},
		{"all", Policy{Allow: []string{"*", "10.0.0.0/8"}}, []string{"a.example.com", "pypi.org", "10.0.0.1"}},
		{"nothing allowed", Policy{Allow: []string{}}, nil},
		{"denied", Policy{Deny: []string{"*.example.com"}}, []string{"pypi.org", "10.0.0.1"}},
		{"a preset", Policy{Preset: []string{"package-registries"}}, []string{"pypi.org"}},
		{"off", Policy{Mode: None}, nil},
		{"ports", Policy{Allow: []string{"*:80"}}, nil},
	} {
		r := compile(t, template, c.layer)
		var got []string
		for _, name := range []string{"a.example.com", "bad.example.com", "pypi.org", "other.org", "crates.io"} {
			if r.Name(name, 443).Allowed {
				got = append(got, name)
			}
		}
		if r.Address("", netip.MustParseAddrPort("10.0.0.1:443")).Allowed {
			got = append(got, "10.0.0.1")
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
	if most := compile(t, Policy{Mode: Door, MaxConnections: 9}, Policy{MaxConnections: 7}, Policy{MaxConnections: 8}, Policy{}).Limits().Connections; most != 7 {
		t.Errorf("%d connections, not 7", most)
	}
	for _, l := range []Layers{nil, {{}}, {{Allow: []string{"*"}}}, {{Mode: None, Allow: []string{"*"}}}, {{Allow: []string{"*"}}, {Mode: Door}}} {
		if v := compile(t, l...).Name("pypi.org", 443); v.Allowed || v.Text == "" {
			t.Errorf("%v: %+v", l, v)
		}
	}
}

func TestTheTableHasNamesThatMayBeReached(t *testing.T) {
	r := compile(t, door([]string{"b.test:8080,80", "a.test", "*.c.test:22", "d.test", "*:9000"}, []string{"d.test", "a.test:80"}), Policy{Allow: []string{"x.c.test:22,443", "a.test", "b.test:8080", "d.test"}})
	want := []Name{{"a.test", []int{443}}, {"b.test", []int{8080}}, {"x.c.test", []int{22}}}
	if got := r.Table(); !slices.EqualFunc(got, want, func(a, b Name) bool { return a.Name == b.Name && slices.Equal(a.Ports, b.Ports) }) {
		t.Error(got)
	}
	if got := compile(t, door([]string{"*"}, nil)).Ports("any.test"); !slices.Equal(got, []int{80, 443}) {
		t.Error(got)
	}
	if got := compile(t, Policy{Mode: Door, Learn: true, Deny: []string{"*:80"}}).Ports("any.test"); !slices.Equal(got, []int{443}) {
		t.Error(got)
	}
	if got := compile(t).Table(); got != nil {
		t.Error(got)
	}
}

func TestVerdictsExplain(t *testing.T) {
	template := door([]string{"*.example.com", "db.test:5432", "10.0.0.0/8"}, []string{"bad.example.com"})
	r := compile(t, template, Policy{Deny: []string{"*.worse.example.com"}, Allow: []string{"*.example.com", "other.test"}})
	for _, c := range []struct{ got, want string }{
		{r.Name("a.example.com", 443).Text, `The rule "*.example.com" of the claim allows a.example.com:443.`},
		{r.Name("bad.example.com", 443).Text, `The rule "bad.example.com" of the template denies bad.example.com:443.`},
		{r.Name("a.worse.example.com", 443).Text, `The rule "*.worse.example.com" of the claim denies a.worse.example.com:443.`},
		{r.Name("other.test", 443).Text, `No rule of the template allows other.test:443.`},
		{r.Name("db.test", 5432).Text, `No rule of the claim allows db.test:5432.`},
		{r.Name("db.test", 80).Text, `The rules of the template allow db.test at other ports than 80: [5432].`},
		{r.Address("a.example.com", netip.MustParseAddrPort("192.168.1.1:443")).Text, `192.168.1.1:443 is a private address, and no rule of the template allows it by its network.`},
		{r.Address("a.example.com", netip.MustParseAddrPort("10.1.1.1:443")).Text, `10.1.1.1:443 is a private address, and no rule of the claim allows it by its network.`},
		{r.Address("a.example.com", netip.MustParseAddrPort("[64:ff9b::7f00:1]:443")).Text, `[64:ff9b::7f00:1]:443 leads to 127.0.0.1, which is a loopback address, and no rule of the template allows it by its network.`},
		{compile(t, template, Policy{Mode: None}).Name("a.example.com", 443).Text, `The sandbox has no network: the mode of the claim is "none".`},
	} {
		if c.got != c.want {
			t.Errorf("%s\nnot %s", c.got, c.want)
		}
	}
}

func TestLayersSurviveTheirLabel(t *testing.T) {
	l := Layers{{Mode: Door, Preset: []string{"package-registries"}, Deny: []string{"github.com"}, ProxyEnv: true, MaxConnections: 9}, {Allow: []string{}}}
	read, err := ParseLayers(l.String())
	if err != nil || read.String() != l.String() || compile(t, read...).Name("pypi.org", 443).Allowed {
		t.Error(err, read)
	}
	if read, err := ParseLayers(""); read != nil || err != nil || Layers(nil).String() != "" {
		t.Error(read, err)
	}
	for _, bad := range []string{"{}", "x", `[{"mode":1}]`, "[" + strings.Repeat("{},", MaxLayers) + "{}]"} {
		if _, err := ParseLayers(bad); err == nil {
			t.Error(bad)
		}
	}
}

func TestWhatIsRestoredHasNoMore(t *testing.T) {
	now := Layers{door([]string{"*", "10.0.0.0/8"}, nil)}
	for _, c := range []struct {
		name  string
		saved Layers
		want  []string // of a.test, b.test, 10.0.0.1
		n     int
	}{
		{"the same template", Layers{now[0], {}}, []string{"a.test", "b.test", "10.0.0.1"}, 1},
		{"a narrower template", Layers{door([]string{"a.test"}, nil), {}}, []string{"a.test"}, 2},
		{"a template that allowed nothing", Layers{{Mode: Door}, {}}, nil, 2},
		{"a template that learnt", Layers{{Mode: Door, Learn: true}, {}}, []string{"a.test", "b.test"}, 2},
		{"a narrow claim", Layers{now[0], {Allow: []string{"b.test"}}}, []string{"b.test"}, 2},
		{"a claim without", Layers{now[0], {Mode: None}}, nil, 2},
		{"one restored before", Layers{now[0], {Deny: []string{"a.test"}}, {Deny: []string{"a.test"}}, {}}, []string{"b.test", "10.0.0.1"}, 2},
	} {
		l := now.Restored(c.saved)
		r := compile(t, l.With(Policy{})...)
		var got []string
		for _, name := range []string{"a.test", "b.test"} {
			if r.Name(name, 443).Allowed {
				got = append(got, name)
			}
		}
		if r.Address("", netip.MustParseAddrPort("10.0.0.1:443")).Allowed {
			got = append(got, "10.0.0.1")
		}
		if !slices.Equal(got, c.want) || len(l) != c.n {
			t.Errorf("%s: %v in %d layers, not %v in %d", c.name, got, len(l), c.want, c.n)
		}
		if len(now) != 1 {
			t.Fatal("the template's layers were changed")
		}
	}
}

func TestLayersAreJoined(t *testing.T) {
	first, own := door([]string{"*"}, nil), Policy{Deny: []string{"a.test"}}
	l := Layers{first}.With(Policy{})
	if len(l) != 2 {
		t.Fatal(l)
	}
	if l = l.With(own); len(l) != 2 || l[1].Deny == nil {
		t.Error("an empty layer stays in between:", l)
	}
	if l = l.With(own); len(l) != 3 {
		t.Error(l)
	}
	if l = l.Replaced(Policy{}); len(l) != 3 || l[2].Deny != nil || l[1].Deny == nil {
		t.Error(l)
	}
	if l = (Layers{first}).Replaced(own); len(l) != 2 || l[0].Mode != Door {
		t.Error("the template's was replaced:", l)
	}
}
