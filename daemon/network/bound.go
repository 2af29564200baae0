package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// Ports by which what a client says is HTTP, and by which it is HTTPS.
const (
	httpPort  = 80
	httpsPort = 443
)

// bound is that a client's HTTP is for one name: that which it was connected to. A server of many names goes by what each request says, so
// each is looked at, as TLS is by the guard.
type bound struct {
	to         target
	connection uint64
	transport  *http.Transport

	mu    sync.Mutex
	first *upstream // that has been connected already; nil once it is used
}

// relay joins a client to an upstream until both have ended. What the client says comes by said.
func (n *Server) relay(ctx context.Context, b *sandbox, t target, c client, said io.Reader, up *upstream) {
	if t.name == "" || t.port != httpPort || len(t.secrets) == 0 && anyName(b.rules.Load(), t.port) {
		n.carry(b, t, c, said, up)
		return
	}
	var st *door.Stream
	switch c := c.(type) {
	case *door.Stream:
		st = c
	case *proxied:
		st = c.Stream
	}
	bind := &bound{to: t, connection: up.opened.Connection, first: up}
	bind.transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dialBound(ctx, b, bind) },
		DialTLSContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dialBound(ctx, b, bind) },
		DisableCompression: true, MaxResponseHeaderBytes: maxWebHeader, MaxConnsPerHost: 1, IdleConnTimeout: webIdle,
	}
	n.serveHTTP(&proxied{Stream: st, said: bufio.NewReader(said), ctx: ctx, b: b, gone: make(chan struct{}), bound: bind})
	bind.transport.CloseIdleConnections()
	if up := bind.take(); up != nil {
		_ = up.Close()
	}
	_ = c.Close()
}

// take returns what was connected first, once.
func (b *bound) take() *upstream {
	b.mu.Lock()
	defer b.mu.Unlock()
	up := b.first
	b.first = nil
	return up
}

// dialBound connects for the next request of a client.
func (n *Server) dialBound(ctx context.Context, b *sandbox, bind *bound) (net.Conn, error) {
	t := goesTo(ctx)
	if up := bind.take(); up != nil {
		return n.readyForWeb(ctx, t, up)
	}
	return n.connectPatiently(ctx, b, t)
}

// check says why a request may not be sent to the name that its client was connected to.
func (b *bound) check(r *http.Request) error {
	plain := strings.HasPrefix(r.RequestURI, "/")
	if _, absolute := cutPrefixFold(r.RequestURI, "http://"); r.Method == http.MethodConnect || !plain && !absolute || r.URL.User != nil {
		return fmt.Errorf("the client was connected to %s, which is asked for %.80q", b.to.name, r.RequestURI)
	}
	if r.Host == "" {
		return nil // of HTTP/1.0
	}
	if t, err := splitTarget("", withPort(r.Host)); err != nil || t.name != b.to.name || t.port != b.to.port {
		return fmt.Errorf("the client was connected to %s, and its request is for %.80q", b.to.name, r.Host)
	}
	return nil
}

// serveBound serves one request of a client that was connected to a name.
func (n *Server) serveBound(w http.ResponseWriter, r *http.Request, p *proxied) {
	if err := p.bound.check(r); err != nil {
		n.denyWeb(w, p, p.bound.to, egress.Verdict{Kind: egress.KindSNI, Text: sentence(err.Error())})
		return
	}
	t, err := n.rebind(p.b, p.bound.to)
	if err != nil {
		n.denyWeb(w, p, p.bound.to, ofSecret(err))
		return
	}
	n.forward(w, r, p, t)
}

// rewrite has a request go to where its client was connected to, or to what it names.
func (b *bound) rewrite(out *http.Request) {
	out.URL.Scheme, out.URL.Host = "http", withPort(b.to.name)
	if out.Host == "" {
		out.Host = b.to.name
	}
}

// withPort adds HTTP's port to a host without one.
func withPort(host string) string {
	if !strings.Contains(strings.TrimLeft(host, "["), ":") || strings.HasSuffix(host, "]") {
		return host + ":80"
	}
	return host
}

var errNobody = errors.New("a connection for nobody")
