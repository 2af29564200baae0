// Package network has the attacks that sandboxes make on the network: on what their rules deny, and on the daemon that serves them.
//
// They are made in a world of the suite's own, which counts who came to which address.
package network

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"sandpool/scripts/outside"
)

// Rules are those of the sandboxes, for a configuration.
const Rules = `mode = "door"
allow = ["www.example.com", "echo.example.com:7", "*.rebound.example.com:80", "` + Keyed + `:443"]
secrets = ["api"]
proxy_env = false
`

// Ground is what an attack has.
type Ground struct {
	World *outside.World
	// Guest runs a shell's text in the one sandbox that the attacker has for a round, and Victim in that of the victim. They return what it
	// printed, whatever its exit code. The command guest there is scripts/outside/guest.
	Guest, Victim func(ctx context.Context, script string) (string, error)
	// Files returns how many files the daemon has open.
	Files func() (int, error)
	// Tried counts an attempt, and Through notes what got through.
	Tried   func()
	Through func(format string, args ...any)
}

// Attacks are all that there are.
var Attacks = []struct {
	Name   string
	Rounds int  // each in a sandbox of its own
	Both   bool // an interface beside the door must not help
	Run    func(ctx context.Context, g *Ground) error
}{
	{"addresses and packets, past the door", 1, false, pastTheDoor},
	{"addresses by the proxy, in every spelling", 1, true, byTheProxy},
	{"requests to the proxy that say two things", 1, true, twoThings},
	{"names that come to have other addresses", 1, true, rebound},
	{"another name in TLS than the one that is allowed", 1, false, fronted},
	{"a secret that requests are sent with", 1, false, keys},
	{"ten thousand connections, and three hundred at once", 5, false, connections},
	{"connections that are left", 1, false, left},
	{"questions by the thousand", 1, false, questions},
}

// canaries are addresses of the world where nobody has any business: special ones, and that of a server as an address.
var canaries = []string{
	"127.0.0.1", "10.20.30.40", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "198.18.0.1", "192.0.0.1", "203.0.113.21",
}

// came runs an attack and notes who came to the canaries meanwhile.
func (g *Ground) came(attack func() error) error {
	before := map[string]int{}
	for _, address := range canaries {
		before[address] = g.World.Came(address)
	}
	err := attack()
	for _, address := range canaries {
		if n := g.World.Came(address) - before[address]; n > 0 {
			g.Through("%d connections came to %s", n, address)
		}
	}
	return err
}

// judge notes every line that says that something was reached, and counts the others. No line is an attack that was not made.
func (g *Ground) judge(out string) error {
	lines := 0
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		switch word, _, _ := strings.Cut(line, " "); word {
		case "refused":
			g.Tried()
			lines++
		case "reached", "late":
			g.Tried()
			lines++
			g.Through("%s", line)
		}
	}
	if lines == 0 {
		return fmt.Errorf("the attack was not made: %.200q", out)
	}
	return nil
}

// attack has the guest try what it is told.
func (g *Ground) attack(ctx context.Context, args string) error {
	return g.came(func() error {
		out, err := g.Guest(ctx, "guest "+args)
		if err != nil {
			return err
		}
		return g.judge(out)
	})
}

func pastTheDoor(ctx context.Context, g *Ground) error {
	return g.attack(ctx, "reach 80 203.0.113.20 203.0.113.53 169.254.169.254 10.20.30.40 192.168.0.1 8.8.8.8 224.0.0.1 255.255.255.255 2001:db8::1 fe80::1 ff02::1 64:ff9b::a14:1e28 ::ffff:10.20.30.40")
}

// spellings are of addresses that are denied, and of names that are none.
var spellings = []string{
	"127.0.0.1", "localhost", "LOCALHOST.", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "127.0.0.1.", "127.64.0.1",
	"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:ffff:7f00:0001]", "[64:ff9b::7f00:1]", "[64:ff9b:1::a14:1e28]", "[2002:a14:1e28::1]",
	"10.20.30.40", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "198.18.0.1", "192.0.0.1", "203.0.113.21", "203.0.113.20",
	"[::ffff:10.20.30.40]", "[64:ff9b::a14:1e28]", "[fe80::1]", "[fe80::1%25lo]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "224.0.0.1", "255.255.255.255",
	"metadata.google.internal", "denied.example.com", "www.example.com.denied.example.com", "xwww.example.com", "rebound.example.com", "www.example.com@10.20.30.40",
	"10.20.30.40#www.example.com", "10.20.30.40\\@www.example.com", "www.example.com%2e10.20.30.40", "www.example.com%00.denied.example.com", "169.254.169.254.nip.io",
}

func byTheProxy(ctx context.Context, g *Ground) error {
	var targets strings.Builder
	for _, spelling := range spellings {
		fmt.Fprintf(&targets, " '%s:80'", spelling)
	}
	return g.attack(ctx, "proxy"+targets.String()+" www.example.com:22 www.example.com:81 www.example.com:0 www.example.com:65536 www.example.com:080000")
}

// twoThings are requests of which two readers may think differently. Whatever comes of the first of each, nothing of the second may.
func twoThings(ctx context.Context, g *Ground) error {
	const second = "GET http://10.20.30.40/second HTTP/1.1\\r\\nHost: 10.20.30.40\\r\\n\\r\\n"
	return g.came(func() error {
		for _, text := range []string{
			"CONNECT www.example.com:80@10.20.30.40:80 HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"CONNECT www.example.com:80 HTTP/1.1\\r\\nHost: www.example.com\\r\\nContent-Length: 4\\r\\n\\r\\n" + second,
			"GET http://10.20.30.40/ HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"GET / HTTP/1.1\\r\\nHost: 10.20.30.40\\r\\n\\r\\n",
			"GET //10.20.30.40/ HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"GET http://www.example.com/ HTTP/1.1\\r\\nHost: 10.20.30.40\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"GET http:10.20.30.40/ HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"GET http://www.example.com\\\\@10.20.30.40/ HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"GET file:///etc/passwd HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"GET http+unix://%%2frun%%2fcontainerd%%2fcontainerd.sock/ HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"POST http://www.example.com/ HTTP/1.1\\r\\nHost: www.example.com\\r\\nContent-Length: 3\\r\\nContent-Length: 200\\r\\n\\r\\n123" + second,
			"POST http://www.example.com/ HTTP/1.1\\r\\nHost: www.example.com\\r\\nContent-Length: 3\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n" + second,
			"POST http://www.example.com/ HTTP/1.1\\r\\nHost: www.example.com\\r\\nTransfer-Encoding : chunked\\r\\nContent-Length: 3\\r\\n\\r\\n0\\r\\n\\r\\n" + second,
			"GET http://www.example.com/ HTTP/1.1\\r\\nHost: www.example.com\\r\\nUpgrade: h2c\\r\\nConnection: Upgrade, HTTP2-Settings\\r\\nHTTP2-Settings: AAMAAABk\\r\\n\\r\\n" + second,
			"GET http://www.example.com/redirect?to=http://10.20.30.40/ HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n",
			"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n", "\\005\\001\\000\\005\\003\\000\\001\\012\\024\\036\\050\\000\\120", "\\004\\001\\000\\120\\012\\024\\036\\050\\000",
		} {
			if _, err := g.Guest(ctx, "printf '"+text+"' | guest raw"); err != nil {
				return err
			}
			g.Tried()
		}
		return nil
	})
}

// rebound asks for names whose addresses change after they were found good, and for such as have denied addresses among good ones.
func rebound(ctx context.Context, g *Ground) error {
	good, denied := netip.MustParseAddr("203.0.113.20"), netip.MustParseAddr("10.20.30.40")
	loop := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	for label, record := range map[string]outside.Record{
		"second":   {Addresses: []netip.Addr{good}, Next: []netip.Addr{denied, denied}},
		"both":     {Addresses: []netip.Addr{denied, netip.MustParseAddr("169.254.169.254")}},
		"loop":     {Addresses: loop},
		"mapped":   {Addresses: []netip.Addr{netip.MustParseAddr("::ffff:10.20.30.40")}},
		"nat64":    {Addresses: []netip.Addr{netip.MustParseAddr("64:ff9b::a14:1e28")}},
		"alias":    {Alias: "inner.rebound.example.com"},
		"inner":    {Addresses: []netip.Addr{denied}},
		"nowhere":  {Alias: "denied.example.com"},
		"zero":     {Addresses: []netip.Addr{netip.IPv4Unspecified()}},
		"metadata": {Addresses: []netip.Addr{netip.MustParseAddr("169.254.169.254")}},
	} {
		name := label + ".rebound.example.com"
		g.World.Names.Set(name, record)
		err := g.came(func() error {
			for range 3 {
				if _, err := g.Guest(ctx, "guest fetch http://"+name+"/; guest proxy "+name+":80"); err != nil {
					return err
				}
				g.Tried()
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func fronted(ctx context.Context, g *Ground) error {
	for _, name := range []string{"other.example.com", "denied.example.com", "xwww.example.com", "www.example.com.denied.example.com"} {
		if err := g.attack(ctx, "front www.example.com:443 "+name); err != nil {
			return err
		}
	}
	return nil
}
