package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// target is what a sandbox asks to be connected to.
type target struct {
	via  wire.NetworkVia
	name string     // in the form of egress.ParseHost; empty if addr is what was asked for
	addr netip.Addr // literal
	port int

	secrets []Secret // that requests are sent with, by HTTPS
}

// outside is the port that is connected to.
func (t target) outside() int {
	if len(t.secrets) > 0 {
		return httpsPort
	}
	return t.port
}

// names are those of the secrets.
func (t target) names() []string {
	var names []string
	for _, s := range t.secrets {
		names = append(names, s.Name)
	}
	return names
}

// targetOf reads a host, a name or an address, as a sandbox says it.
func targetOf(via wire.NetworkVia, host string, port int) (target, error) {
	if port < 1 || port > 65535 {
		return target{}, fmt.Errorf("%d is no port", port)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return target{}, errors.New("an address with a zone is of the host")
		}
		return target{via: via, addr: addr.Unmap(), port: port}, nil
	}
	name, err := egress.ParseHost(host)
	if err != nil {
		return target{}, err
	}
	return target{via: via, name: name, port: port}, nil
}

// splitTarget reads HOST:PORT, strictly: nothing else may be in it.
func splitTarget(via wire.NetworkVia, text string) (target, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return target{}, fmt.Errorf("%.300q is no HOST:PORT", text)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(number, 10) != port {
		return target{}, fmt.Errorf("%.20q is no port", port)
	}
	return targetOf(via, host, int(number))
}

// host is the name or the address, or "?" of what named nothing.
func (t target) host() string {
	switch {
	case t.name != "":
		return t.name
	case t.addr.IsValid():
		return t.addr.String()
	}
	return "?"
}

// dialed is the host as the dialer is to have it: of a name, the host's search domains are nobody's business.
func (t target) dialed() string {
	if t.name != "" {
		return t.name + "."
	}
	return t.addr.String()
}

func (t target) entry(result wire.NetworkResult) wire.NetworkEntry {
	return wire.NetworkEntry{Result: result, Via: t.via, Name: t.host(), Port: t.port, Secrets: t.names()}
}
