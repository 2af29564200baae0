package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// Secret is a header that requests to some names are sent with. What a sandbox asks of such a name by HTTP goes by HTTPS with it, so the sandbox
// never has it.
type Secret struct {
	Name   string
	Hosts  []string       // in the form of egress.ParseHost
	Header string         // in its canonical form
	Value  string         // of the header
	Roots  *x509.CertPool // who may sign for the hosts; nil: whom the host believes

	lost bool // it is a claim's own, and nobody knows any more what it is made of
}

// String is for logs.
func (s Secret) String() string { return s.Name }

// SetSecrets has requests be sent with these from now on.
func (n *Server) SetSecrets(all []Secret) {
	byName := map[string]Secret{}
	for _, s := range all {
		byName[s.Name] = s
	}
	n.secrets.Store(&byName)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range n.all {
		b.tableChanged() // a name with a secret has a port more
	}
}

// secretsOf are those that a sandbox's requests to a name are sent with.
func (n *Server) secretsOf(rules *egress.Rules, name string) []Secret {
	var list []Secret
	all := *n.secrets.Load()
	for _, s := range rules.Secrets() {
		if slices.Contains(all[s].Hosts, name) {
			list = append(list, all[s])
		}
	}
	list = n.withOwn(list, rules, name)
	if len(list) > 0 && !rules.Name(name, httpsPort).Allowed {
		return nil
	}
	return list
}

// bind adds the secrets that requests to a target are sent with now.
func (n *Server) bind(b *sandbox, t target) target {
	if t.name != "" && t.port == httpPort {
		t.secrets = n.secretsOf(b.rules.Load(), t.name)
	}
	return t
}

// rebind is bind for a client that was connected to a target some time ago. What began with a secret does not go on without, in the clear, nor do other
// secrets go to a server that was believed by other authorities.
func (n *Server) rebind(b *sandbox, before target) (target, error) {
	if len(before.secrets) == 0 {
		return before, nil
	}
	t := n.bind(b, before)
	switch {
	case len(t.secrets) == 0:
		return t, fmt.Errorf("requests to %s are not sent with a secret any more: connect anew", t.name)
	case t.lost() == nil && !t.secrets[0].Roots.Equal(before.secrets[0].Roots):
		return t, fmt.Errorf("the server of %s was believed by other authorities than now: connect anew", t.name)
	}
	return t, t.disputed()
}

// disputed says why requests cannot be sent with all of the secrets. The configuration has no such secrets in one template, but a sandbox that is
// older than it may, and a claim may bring one of its own.
func (t target) disputed() error {
	if t.lost() != nil {
		return nil
	}
	for i, s := range t.secrets {
		for _, other := range t.secrets[:i] {
			if egress.SameHeader(s.Header, other.Header) || !s.Roots.Equal(other.Roots) {
				return fmt.Errorf("the secrets %s and %s cannot both be used for %s: they have the same header, or other authorities", other.Name, s.Name, t.name)
			}
		}
	}
	return nil
}

// verdict is what the rules say of the name, and of the secrets that go there.
func (t target) verdict(rules *egress.Rules) egress.Verdict {
	v := rules.Name(t.name, t.outside())
	if len(t.secrets) == 0 || !v.Allowed || t.lost() != nil {
		return v
	}
	if err := t.disputed(); err != nil {
		return ofSecret(err)
	}
	v.Text += fmt.Sprintf(" Requests go by HTTPS, with the secret %s.", strings.Join(t.names(), " and "))
	return v
}

func ofSecret(err error) egress.Verdict {
	return egress.Verdict{Kind: egress.KindSecret, Text: sentence(err.Error())}
}

// ports are those by which a name may be reached, in order: where there is a secret, HTTP's too.
func (n *Server) ports(rules *egress.Rules, name string) []int {
	ports := rules.Ports(name)
	if len(n.secretsOf(rules, name)) > 0 && !slices.Contains(ports, httpPort) {
		ports = append(ports, httpPort)
		slices.Sort(ports)
	}
	return ports
}

// names is the table of the rules, with the ports that there are for secrets.
func (n *Server) names(rules *egress.Rules) []egress.Name {
	table := rules.Table()
	for i := range table {
		table[i].Ports = n.ports(rules, table[i].Name)
	}
	return table
}

// checkDressed says why a request may not be sent with a secret.
func (t target) checkDressed(r *http.Request) error {
	lost := t.lost()
	switch {
	case len(t.secrets) == 0:
		return nil
	case lost != nil:
		return lost
	case r.Method == http.MethodTrace:
		return fmt.Errorf("a request to %s is sent with a secret, which the answer to TRACE would show", t.name)
	case r.Header.Get("Upgrade") != "":
		return fmt.Errorf("a request to %s is sent with a secret, and cannot leave HTTP (Upgrade)", t.name)
	}
	return nil
}

// dress has a request go by HTTPS with the secrets, and without what the sandbox says in their place.
func (t target) dress(out *http.Request) {
	if len(t.secrets) == 0 {
		return
	}
	out.URL.Scheme, out.URL.Host, out.Host = "https", net.JoinHostPort(t.name, strconv.Itoa(httpsPort)), t.name
	out.Trailer = nil // which could name the same headers
	for _, s := range t.secrets {
		for name := range out.Header {
			if egress.SameHeader(name, s.Header) {
				delete(out.Header, name)
			}
		}
	}
	for _, s := range t.secrets {
		out.Header.Set(s.Header, s.Value)
	}
}

// undress has an answer that leads to the same server lead there by HTTP, as the request came.
func (t target) undress(resp *http.Response) {
	if len(t.secrets) == 0 {
		return
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Scheme != "https" || !strings.EqualFold(to.Hostname(), t.name) || to.Port() != "" && to.Port() != strconv.Itoa(httpsPort) {
		return
	}
	to.Scheme, to.Host = "http", t.name
	resp.Header.Set("Location", to.String())
}

// readyForWeb makes of an upstream what a transport speaks HTTP over: with secrets it is TLS with a server that has proved its name.
func (n *Server) readyForWeb(ctx context.Context, t target, up *upstream) (net.Conn, error) {
	if len(t.secrets) == 0 {
		return newPatient(up), nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, n.o.ConnectTimeout, errConnectSlow)
	defer cancel()
	secure := tls.Client(up, &tls.Config{ServerName: t.name, RootCAs: t.secrets[0].Roots, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		up.reset()
		r := refusalOf(ctx, t, err)
		if !errors.As(err, new(*refusal)) { // else it was noted
			n.refuse(up.b, t, up.opened.Connection, r)
		}
		return nil, r
	}
	return newPatient(secure), nil
}

// Describe adds to what a sandbox may connect to what only the daemon knows.
func (n *Server) Describe(sandbox string, shown *wire.Network) {
	b, err := n.find(sandbox)
	if err != nil {
		return
	}
	shown.UsedBytes = b.meter.total()
	rules, all := b.rules.Load(), *n.secrets.Load()
	for i, name := range shown.Names {
		shown.Names[i].Ports = n.ports(rules, name.Name)
	}
	for _, name := range rules.Secrets() {
		shown.Secrets = append(shown.Secrets, wire.NetworkSecret{Name: name, Hosts: append([]string{}, all[name].Hosts...)})
	}
	shown.Secrets = append(shown.Secrets, n.describeOwn(rules)...)
}
