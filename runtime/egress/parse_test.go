package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func TestHostsAreNames(t *testing.T) {
	for text, want := range map[string]string{
		"example.com": "example.com", "Example.COM.": "example.com", "db": "db", "a_b.example.com": "a_b.example.com", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"1.example.com": "1.example.com", "3com.com": "3com.com", "0x.com": "0x.com", "0xzz": "0xzz", "a--b.test": "a--b.test", strings.Repeat("a.", 126) + "a": strings.Repeat("a.", 126) + "a",
	} {
		if got, err := ParseHost(text); got != want || err != nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ".", "..", "a..b", ".a", "a..", "127.1", "127.0.0.1", "2130706433", "0x7f000001", "0X7F.1", "017700000001", "1.2.3", "example.1", "a.0x1", "0x",
		"::1", "[::1]", "a:80", "a b", "a/b", "a@b", "a%00", "a\x00", "a\n", "bücher.example", "ａ.test", "a。test", "*.a", "*", "-a.test", "a-.test", "a.-", strings.Repeat("a", 64),
		strings.Repeat("a.", 150), "http://a", "a#b", `a\b`} {
		if got, err := ParseHost(text); err == nil {
			t.Errorf("%q was taken for %q", text, got)
		} else if len(err.Error()) > 300 {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRulesAreRead(t *testing.T) {
	for _, text := range []string{"a", "a.b:1", "a.b:65535,1", "*.a", "*.a:80", "*", "*:80", "10.0.0.0/8", "10.0.0.0/8:80,443", "1.2.3.4", "1.2.3.4:80", "::1", "[::1]:80", "2001:db8::/32", "2001:db8::/32:80", "::/0", "A.B."} {
		if _, err := parseRule(text, position{"allow", 0}); err != nil {
			t.Error(err)
		}
	}
	for text, says := range map[string]string{
		"": "empty", ":80": "empty", "a:": "followed by ports", "a:0": "1 to 65535", "a:65536": "1 to 65535", "a:x": "1 to 65535", "a:+1": "1 to 65535", "a:080": "1 to 65535", "a:80,": "1 to 65535", "a:80,80": "twice", "a:1:2": "1 to 65535",
		"a.*": "asterisk", "*a": "asterisk", "*.*": "asterisk", "*.": "empty", "*.10.0.0.1": "number", "a.*.b": "asterisk", "127.1": "number", "10.0.0.1/8": "10.0.0.0/8", "10.0.0.0/33": "bits", "10.0.0.0/": "bits", "10/8": "bits",
		"::ffff:10.0.0.1": "10.0.0.1", "::ffff:10.0.0.0/104": "IPv4", "fe80::1%eth0": "zone", "[::1]": "colon", "[::1]:": "colon", "[::1]80": "colon", "[1.2.3.4]:80": "brackets", "[::1": "brackets", "[a]:1": "brackets",
		"http://a": "bits", "a b": "character", "é": "ASCII", "a:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17": "16 ports", "2001:db8::/32:": "ports", "/8": "bits",
	} {
		r, err := parseRule(text, position{"allow", 0})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), quote(text)) {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}

func TestPresetsAreRules(t *testing.T) {
	for _, name := range Presets() {
		if faults := (Policy{Mode: Door, Allow: Preset(name)}).Check(); len(faults) > 0 || len(Preset(name)) == 0 {
			t.Error(name, faults)
		}
	}
	if _, err := Compile(Layers{{Mode: Door, Preset: []string{"x"}}}); err == nil || !strings.Contains(err.Error(), "package-registries") {
		t.Error(err)
	}
}

func TestWhatContradictsIsReported(t *testing.T) {
	p := Policy{Mode: Door, Preset: []string{"package-registries"},
		Allow: []string{"a.test", "A.test.:443,80", "b.test", "*.c.test", "x.c.test", "10.1.0.0/16", "x.d.test:80", "e.test", "bad:rule"},
		Deny:  []string{"b.test", "10.0.0.0/8", "*.d.test", "e.test:80", "pypi.org", "b.test"}}
	var got []string
	for _, f := range p.Check() {
		got = append(got, f.Error())
	}
	want := []string{
		`allow[8]: rule "bad:rule": "rule" is no port: ports are whole numbers from 1 to 65535, with commas between them`,
		`allow[1]: rule "A.test.:443,80" says what allow[0] says already`,
		`deny[5]: rule "b.test" says what deny[0] says already`,
		`allow[2]: rule "b.test" allows nothing, since deny[0], "b.test", denies all of it`,
		`allow[5]: rule "10.1.0.0/16" allows nothing, since deny[1], "10.0.0.0/8", denies all of it`,
		`allow[6]: rule "x.d.test:80" allows nothing, since deny[2], "*.d.test", denies all of it`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Error(strings.Join(got, "\n"))
	}
}

func FuzzParseHost(f *testing.F) {
	for _, text := range []string{"example.com", "127.1", "a..b", "0x7f.1", "É.test"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := ParseHost(text)
		if err != nil {
			return
		}
		if again, err := ParseHost(name); again != name || err != nil {
			t.Errorf("%q became %q and then %q, %v", text, name, again, err)
		}
		if _, err := netip.ParseAddr(name); err == nil || len(name) > maxHost || name != strings.ToLower(name) {
			t.Errorf("%q became %q", text, name)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	for _, text := range []string{"a.test:80", "*.a", "*", "[::1]:80", "10.0.0.0/8:1,2", "2001:db8::/32:9"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRule(text, position{"allow", 0})
		if err != nil {
			return
		}
		if !r.covers(&r) {
			t.Errorf("%q does not cover itself: %+v", text, r)
		}
		if _, err := Compile(Layers{{Mode: Door, Allow: []string{text}, Deny: []string{text}}}); err != nil {
			t.Error(err)
		}
	})
}

// What two layers allow, each of them allows: a claim's layer only takes away.
func FuzzALayerNeverAllowsMore(f *testing.F) {
	f.Add("*.a.test", "b.a.test", "x.a.test", "b.a.test", uint16(443), []byte{10, 0, 0, 1}, false)
	f.Add("10.0.0.0/8", "*", "*:80", "c", uint16(80), []byte{10, 0, 0, 1}, true)
	f.Fuzz(func(t *testing.T, one, two, three, host string, port uint16, address []byte, learn bool) {
		name, _ := ParseHost(host)
		addr, _ := netip.AddrFromSlice(address)
		to := netip.AddrPortFrom(addr, port)
		template := Policy{Mode: Door, Allow: []string{one, "*"}, Deny: []string{three}, Learn: learn}
		for _, own := range []Policy{{}, {Allow: []string{}}, {Allow: []string{two}}, {Deny: []string{two}}, {Allow: []string{two}, Deny: []string{three}}, {Learn: true}, {Mode: Door, Allow: []string{"*", "::/0", "0.0.0.0/0"}}} {
			before, err := Compile(Layers{template})
			if err != nil {
				return
			}
			after, err := Compile(Layers{template, own})
			if err != nil {
				return
			}
			if name != "" && after.Name(name, int(port)).Allowed && !before.Name(name, int(port)).Allowed {
				t.Errorf("%+v allows %s:%d", own, name, port)
			}
			if name != "" && after.allows(name, int(port)) != after.Name(name, int(port)).Allowed {
				t.Errorf("%+v: %s:%d is %+v", own, name, port, after.Name(name, int(port)))
			}
			if all := (Layers{template, own}); len(all.String()) > template.size()+own.size() {
				t.Errorf("%s is longer than it was taken for", all)
			}
			for _, by := range []string{"", name} {
				if after.Address(by, to).Allowed && !before.Address(by, to).Allowed || after.HostAddress(by, to).Allowed && !before.HostAddress(by, to).Allowed {
					t.Errorf("%+v allows %s of %q", own, to, by)
				}
				if after.HostAddress(by, to).Allowed && !after.Address(by, to).Allowed {
					t.Errorf("%s of %q is allowed as the host's only", to, by)
				}
			}
		}
	})
}
