package network

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// reached is what an attempt has reached: the canary is told by what it says.
const canarySays = "canary"

// attack is a way to what is denied.
type attack struct {
	what string
	try  func(w *world) string // returns all that came back
	// never is for what no rules let through, and what is at an address that no route leads to.
	never bool
}

const plainGet = "GET / HTTP/1.1\r\nHost: good.example\r\nConnection: close\r\n\r\n"

// exchange says something and returns what comes until the end.
func exchange(st *door.Stream, said string) string {
	_, _ = io.WriteString(st, said)
	got, _ := io.ReadAll(st)
	_ = st.Close()
	return string(got)
}

// The ways to ask for a host's port 80.
var ways = map[wire.NetworkVia]func(w *world, host string) string{
	wire.ViaName: func(w *world, host string) string {
		st, _, err := w.ask(door.Ask{Kind: door.Connect, Name: host, Port: 80})
		if err != nil {
			return err.Error()
		}
		return exchange(st, plainGet)
	},
	wire.ViaConnect: func(w *world, host string) string {
		return exchange(w.proxy(), "CONNECT "+net.JoinHostPort(host, "80")+" HTTP/1.1\r\nHost: good.example:80\r\n\r\n"+plainGet)
	},
	wire.ViaHTTP: func(w *world, host string) string {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return exchange(w.proxy(), "GET http://"+host+"/ HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
	},
	wire.ViaSOCKS: func(w *world, host string) string { return exchange(w.proxy(), socksRequest(host, 80)+plainGet) },
	"address":     func(w *world, host string) string { return exchange(w.proxy(), socksAddress(host, 80)+plainGet) },
}

// socksRequest asks for a host as a name.
func socksRequest(host string, port uint16) string {
	return string(binary.BigEndian.AppendUint16([]byte("\x05\x01\x00\x05\x01\x00\x03"+string([]byte{byte(len(host))})+host), port))
}

// socksAddress asks for an address.
func socksAddress(host string, port uint16) string {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "\x05\x00"
	}
	kind := byte(socksIPv6)
	if addr.Is4() {
		kind = socksIPv4
	}
	return string(binary.BigEndian.AppendUint16(append([]byte{5, 1, 0, 5, 1, 0, kind}, addr.AsSlice()...), port))
}

// Addresses that are denied. Those that no route leads to begin with an exclamation mark.
var deniedAddresses = []string{
	"127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",
	"64:ff9b:1::7f00:1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2001:0:7f00:1::1", "2001:0:505:505:0:0:80ff:fffe",
	"0.0.0.0", "0.0.0.1", "0.127.0.1", "::",
	"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "::ffff:192.168.1.1",
	"169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192",
	"169.254.0.1", "!fe80::1", "100.64.0.1", "100.127.255.255", "198.18.0.1", "198.19.255.255", "192.0.0.1", "192.88.99.1",
	"fc00::1", "fdff:ffff::1", "fec0::1", "100::1", "5f00::1",
	"!224.0.0.1", "!239.255.255.255", "!255.255.255.255", "240.0.0.1", "!ff02::1",
}

// Spellings that some resolvers take for an address of loopback or metadata; this one would, too.
var spellings = []string{
	"127.1", "127.0.1", "127.0.0.1.", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "0x7f.1", "127.0.0.01", "127.0.0.1%lo", "fe80::1%lo", "::1%lo",
	"0", "0x0", "00.0.0.0", "2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "[::1]", "[127.0.0.1]", "127。0。0。1", "①②⑦.0.0.1", "127.0.0.1\x00.good.example",
	"good.example\x00127.0.0.1", "127.0.0.1 good.example", "127.0.0.1/good.example", "good.example@127.0.0.1", "127.0.0.1#good.example", "127.0.0.1?good.example", "127.0.0.1\\good.example",
	"", ".", "good..example", "-good.example", strings.Repeat("a.", 127) + "example",
}

// hostAttacks asks for each host in each way.
func hostAttacks() (all []attack) {
	add := func(host string, never bool) {
		for via, ask := range ways {
			if addr, err := netip.ParseAddr(host); via == "address" && (err != nil || addr.Zone() != "") {
				continue
			}
			all = append(all, attack{fmt.Sprintf("%s by %s", host, via), func(w *world) string { return ask(w, host) }, never})
		}
	}
	for _, address := range deniedAddresses {
		address, unreachable := strings.CutPrefix(address, "!")
		add(address, unreachable)
		name := strings.NewReplacer(".", "-", ":", "-").Replace(address) + "-.evil.example"
		add(strings.Trim(strings.ReplaceAll(name, "-.evil", "x.evil"), "-"), unreachable)
	}
	for _, spelling := range spellings {
		add(spelling, true)
	}
	for _, address := range []string{"203.0.113.11", "8.8.8.8", "2606:4700::1111"} { // no rule is about
		add(address, false)
	}
	for _, name := range []string{
		"localhost", "localhost.", "ip6-localhost", "sub.good.example", "evilgood.example", "good.example.evil.test", "wild.example", "bad.wild.example",
		"alias.evil.example", "chain.evil.example", "both.evil.example",
	} {
		add(name, false)
	}
	return all
}

// records has the tests' names lie.
func (w *world) lie() {
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, address := range deniedAddresses {
		address = strings.TrimPrefix(address, "!")
		name := strings.NewReplacer(".", "-", ":", "-").Replace(address) + "-.evil.example"
		w.name(strings.Trim(strings.ReplaceAll(name, "-.evil", "x.evil"), "-"), netip.MustParseAddr(address))
	}
	for _, spelling := range append(spellings, "localhost", "ip6-localhost", "sub.good.example", "evilgood.example", "good.example.evil.test", "wild.example", "bad.wild.example") {
		w.name(strings.TrimSuffix(strings.ToLower(spelling), "."), loopback)
	}
	w.name("alias.evil.example", "localhost")
	w.name("chain.evil.example", "a.chain.example")
	w.name("a.chain.example", "b.chain.example")
	w.name("b.chain.example", netip.MustParseAddr("169.254.169.254"))
	w.name("both.evil.example", netip.MustParseAddr("::ffff:127.0.0.1"))
	w.name("rebind.evil.example", goodAddr, loopback)
	w.handle(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(rw, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
			return
		}
		_, _ = fmt.Fprintf(rw, "good %s %s", r.Host, r.URL.Path)
	})
}

func get(target, host string, more ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(append(more, ""), "\r\n") + "Connection: close\r\n\r\n"
}

// said is an attack by what is said to the proxy.
func said(what, text string, never bool) attack {
	return attack{what, func(w *world) string { return exchange(w.proxy(), text) }, never}
}

// tricks are attacks on what reads names, and on when they are resolved.
func tricks() []attack {
	connect := func(target string) string {
		return "CONNECT " + target + " HTTP/1.1\r\nHost: good.example:80\r\n\r\n" + plainGet
	}
	smuggled := get("http://127.0.0.1/", "127.0.0.1")
	return []attack{
		{"a name that is bound anew after it was asked for", func(w *world) string {
			_, _, _ = w.ask(door.Ask{Kind: door.Resolve, Name: "rebind.evil.example"})
			return ways[wire.ViaName](w, "rebind.evil.example")
		}, false},
		{"a name that is bound anew between two connections", func(w *world) string {
			ways[wire.ViaConnect](w, "rebind.evil.example")
			return ways[wire.ViaConnect](w, "rebind.evil.example")
		}, false},
		{"a redirect that the client follows", func(w *world) string {
			if moved := exchange(w.proxy(), get("http://good.example/redirect", "good.example")); !strings.Contains(moved, "Location: http://169.254.169.254/") {
				w.t.Errorf("no redirect: %q", moved)
			}
			return exchange(w.proxy(), get("http://169.254.169.254/latest/meta-data/", "169.254.169.254"))
		}, false},
		{"a redirect on the same connection", func(w *world) string {
			first := "GET http://good.example/redirect HTTP/1.1\r\nHost: good.example\r\n\r\n"
			return exchange(w.proxy(), first+get("http://169.254.169.254/", "169.254.169.254"))
		}, false},
		{"another port of an allowed name", func(w *world) string { return exchange(w.proxy(), socksRequest("good.example", 22)) }, true},
		said("CONNECT with a user", connect("good.example:80@127.0.0.1:80"), true),
		said("CONNECT with a user and no port", connect("good.example@127.0.0.1:80"), true),
		said("CONNECT with a fragment", connect("127.0.0.1:80#good.example:80"), true),
		said("CONNECT with a query", connect("127.0.0.1:80?good.example:80"), true),
		said("CONNECT with a path", connect("127.0.0.1:80/good.example:80"), true),
		said("CONNECT with two ports", connect("127.0.0.1:80:80"), true),
		said("CONNECT with a URL", connect("http://127.0.0.1:80"), true),
		said("CONNECT with a path alone", connect("/127.0.0.1:80"), true),
		said("CONNECT with a named port", connect("127.0.0.1:http"), true),
		said("CONNECT with zeros before the port", connect("127.0.0.1:00080"), true),
		said("CONNECT with a port over 65535", connect("127.0.0.1:65616"), true),
		said("CONNECT with a sign", connect("127.0.0.1:+80"), true),
		said("CONNECT without a host", connect(":80"), true),
		said("CONNECT with an escape", connect("%31%32%37.0.0.1:80"), true),
		said("CONNECT to an allowed name with another Host", "CONNECT good.example:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"+plainGet, true),
		said("CONNECT with a body that is a CONNECT", "CONNECT other.test:80 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"+connect("127.0.0.1:80"), false),
		said("a URL with another Host", get("http://good.example/", "127.0.0.1"), true),
		said("an address with an allowed Host", get("http://127.0.0.1/", "good.example"), false),
		said("two Hosts", get("http://good.example/", "good.example", "Host: 127.0.0.1"), true),
		said("a URL with a user", get("http://good.example@127.0.0.1/", "good.example"), true),
		said("a URL with a user and a password", get("http://good.example:80@127.0.0.1:80/", "good.example"), true),
		said("a URL with a backslash", get("http://127.0.0.1\\@good.example/", "good.example"), true),
		said("a URL with a fragment", get("http://127.0.0.1#@good.example/", "good.example"), true),
		said("a URL with an escaped host", get("http://%31%32%37.0.0.1/", "good.example"), true),
		said("a URL without a scheme", get("//127.0.0.1/", "127.0.0.1"), true),
		said("a path with a Host", get("/", "127.0.0.1"), true),
		said("a URL of https", get("https://127.0.0.1/", "127.0.0.1"), true),
		said("a URL of ftp", get("ftp://127.0.0.1/", "127.0.0.1"), true),
		said("a URL with an IPv6 zone", get("http://[::1%25lo]/", "[::1]"), true),
		said("OPTIONS of all", "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", true),
		said("two lengths", "POST http://good.example/ HTTP/1.1\r\nHost: good.example\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"+smuggled, true),
		said("a length and chunks", "POST http://good.example/ HTTP/1.1\r\nHost: good.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggled, false),
		said("chunks with a blank", "POST http://good.example/ HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"+smuggled, true),
		said("chunks of another kind", "POST http://good.example/ HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: xchunked\r\n\r\n"+smuggled, true),
		said("a header over two lines", "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\nX: a\r\n Host: 127.0.0.1\r\nConnection: close\r\n\r\n", true),
		said("HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+smuggled, true),
		said("HTTP/0.9", "GET http://127.0.0.1/\r\n\r\n", true),
		said("SOCKS4", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00", true),
		said("SOCKS5 BIND", "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50"+plainGet, true),
		said("SOCKS5 UDP ASSOCIATE", "\x05\x01\x00\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50"+plainGet, true),
		said("SOCKS5 with a password", "\x05\x01\x02\x01\x01a\x01b\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"+plainGet, true),
		said("SOCKS5 with an unknown kind of address", "\x05\x01\x00\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x50"+plainGet, true),
		said("SOCKS5 with a reserved byte", "\x05\x01\x00\x05\x01\x01\x01\x7f\x00\x00\x01\x00\x50"+plainGet, true),
		said("SOCKS5 with port 0", socksAddress("127.0.0.1", 0)+plainGet, true),
		said("SOCKS5 with an empty name", socksRequest("", 80)+plainGet, true),
	}
}

// guarded are rules that allow one server, and names that lie.
var guarded = egress.Layers{{
	Mode: egress.Door, Allow: []string{"good.example:80,443", "*.evil.example:80", "*.wild.example:80", "203.0.113.10:80"}, Deny: []string{"bad.wild.example"},
}}

// everything are rules that allow all that can be allowed.
var everything = box("*:80,443",
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"240.0.0.0/4", "168.63.129.16", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "5f00::/16", "fc00::/7", "fec0::/10",
)

// TestAttacks tries each way to what is denied: none gets through. Where rules can allow what is tried, each gets through with those rules, so it is
// the rules that stopped it.
func TestAttacks(t *testing.T) {
	w := newWorld(t, Options{}, guarded)
	w.lie()
	all := append(hostAttacks(), tricks()...)
	t.Logf("%d ways", len(all))
	for _, a := range all {
		if got := a.try(w); strings.Contains(got, canarySays) || len(w.met()) > 0 {
			t.Errorf("%q gets through: met %v, got %.300q", a.what, w.met(), got)
			w.forgetCanary()
		}
	}
	w.set(everything)
	for _, a := range all {
		got := a.try(w)
		// A proxy need not read a second request: net/http closes a connection whose first one was answered before its body had been read to its end.
		for again := 0; !a.never && !strings.Contains(got, canarySays) && again < 20; again++ {
			got = a.try(w)
		}
		if through := strings.Contains(got, canarySays); through == a.never {
			t.Errorf("%q with rules that allow it: got through: %t: %.300q", a.what, through, got)
		}
	}
}

func (w *world) forgetCanary() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.canary = nil
}
