// Package target reads and shows what sandboxes connect to.
package target

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

// defaultPort is meant where none is given.
const defaultPort = 443

// Parse reads NAME[:PORT], where the name may be an address; one of IPv6 is in brackets if there is a port.
func Parse(text string) (name string, port int, err error) {
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr.String(), defaultPort, nil
	}
	name, number, has := text, "", false
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		name, number, has = strings.Trim(text[:i], "[]"), text[i+1:], true
	}
	if !has {
		return name, defaultPort, nil
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || name == "" {
		return "", 0, fmt.Errorf("%q: want NAME or NAME:PORT, with a port from 1 to 65535", text)
	}
	return name, int(n), nil
}

// Network is what a claim may connect to.
func Network(n wire.Network) (lines []table.Pair) {
	add := func(name, value string) { lines = append(lines, table.Pair{Name: name, Value: value}) }
	add("mode", n.Mode)
	for _, l := range n.Layers {
		for _, list := range []struct {
			what  string
			items []string
		}{{"presets", l.Preset}, {"allows", l.Allow}, {"denies", l.Deny}} {
			if list.items != nil {
				add(l.Of+" "+list.what, cmp.Or(strings.Join(list.items, ", "), "nothing"))
			}
		}
		if l.Learn {
			add(l.Of+" learns", "all that is not denied and not special is allowed")
		}
	}
	for i, name := range n.Names {
		add(head(i, "names"), name.Name+":"+strings.Trim(strings.ReplaceAll(fmt.Sprint(name.Ports), " ", ","), "[]"))
	}
	for i, rule := range n.Learned {
		add(head(i, "learned"), rule)
	}
	for i, s := range n.Secrets {
		hosts := "nothing: the daemon has none of that name"
		if len(s.Hosts) > 0 {
			hosts = "http://" + strings.Join(s.Hosts, ", http://")
		}
		if s.Lost {
			hosts += ": requests are refused until it is given again, by sandpool egress bind"
		}
		add(head(i, "secrets"), s.Name+" for "+hosts)
	}
	if n.MaxConnections > 0 {
		add("connections", "at most "+strconv.Itoa(n.MaxConnections))
	}
	if n.Rate > 0 {
		add("rate", fmt.Sprintf("at most %d bytes a second in each direction", n.Rate))
	}
	if n.MaxBytes > 0 {
		add("bytes", fmt.Sprintf("%d of %d", n.UsedBytes, n.MaxBytes))
	}
	return lines
}

// head stands before the first of some lines.
func head(i int, text string) string {
	if i > 0 {
		return ""
	}
	return text
}

// Why is what would become of a connection.
func Why(why wire.NetworkWhy) (lines []table.Pair) {
	add := func(name, value string) { lines = append(lines, table.Pair{Name: name, Value: value}) }
	verdict := map[bool]string{true: "allowed", false: "denied"}
	add(verdict[why.Allowed], why.Message)
	for _, a := range why.Addresses {
		add(a.Address, cmp.Or(a.Message, verdict[a.Allowed]))
	}
	if why.Last != nil {
		add("last", Entry(*why.Last))
	}
	return lines
}

// Entry is one line of what a claim did.
func Entry(e wire.NetworkEntry) string {
	at := e.Name
	if e.Port > 0 {
		at = net.JoinHostPort(e.Name, strconv.Itoa(e.Port))
	}
	words := fmt.Sprintf("%s  %-6s  %-7s  %s", e.Time.Local().Format(time.DateTime), e.Result, e.Via, at)
	if e.Address != "" && e.Address != at {
		words += " at " + e.Address
	}
	if e.Result == wire.NetworkClosed {
		words += fmt.Sprintf("  %d bytes out, %d in, %s", e.SentBytes, e.GotBytes, time.Duration(e.DurationMS*float64(time.Millisecond)).Round(time.Millisecond))
	}
	if e.Message != "" {
		words += "  " + e.Message
	}
	return words
}
