package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

const (
	// maxWebHeader bounds the headers of a request to the proxy, and of its answer, in bytes.
	maxWebHeader = 64 << 10
	// webIdle is how long a client of the proxy may take to its next request.
	webIdle = 2 * time.Minute
)

// webKey is the context's key for a request's *proxied, and webTarget for where it goes.
type (
	webKey    struct{}
	webTarget struct{}
)

// serveWeb makes what serves clients that speak HTTP. No connection to the outside is used for two requests: what one request smuggles into it
// is no other's.
func (n *Server) serveWeb() {
	said := slog.NewLogLogger(n.o.Log.Handler(), slog.LevelDebug) // clients' faults
	n.plain = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			if bind := clientOf(r.In.Context()).bound; bind != nil {
				bind.rewrite(r.Out)
			}
			goesTo(r.In.Context()).dress(r.Out)
		},
		ModifyResponse: func(resp *http.Response) error {
			goesTo(resp.Request.Context()).undress(resp)
			return nil
		},
		Transport: byClient{&http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dialWeb(ctx) },
			DialTLSContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dialWeb(ctx) },
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxWebHeader,
		}},
		FlushInterval: -1,
		ErrorLog:      said,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			answerWeb(w, refusalOf(r.Context(), goesTo(r.Context()), err))
		},
	}
	n.web = http.Server{
		Handler: http.HandlerFunc(n.serveRequest), ReadHeaderTimeout: proxyTime, IdleTimeout: webIdle, MaxHeaderBytes: maxWebHeader, ErrorLog: said,
		BaseContext:                  func(l net.Listener) context.Context { return webContext(l) },
		DisableGeneralOptionsHandler: true,
	}
}

func webContext(l net.Listener) context.Context {
	p := l.(*oneListener).p
	return context.WithValue(p.ctx, webKey{}, p)
}

// clientOf is the client whose request a context is of.
func clientOf(ctx context.Context) *proxied {
	p, _ := ctx.Value(webKey{}).(*proxied)
	return p
}

// goesTo is where the request goes that a context is of.
func goesTo(ctx context.Context) target {
	t, _ := ctx.Value(webTarget{}).(target)
	return t
}

// byClient sends requests of clients that were connected to a name by their own connections, and each of the others by one of its own.
type byClient struct{ each http.RoundTripper }

func (t byClient) RoundTrip(r *http.Request) (*http.Response, error) {
	if bind := clientOf(r.Context()).bound; bind != nil {
		return bind.transport.RoundTrip(r)
	}
	return t.each.RoundTrip(r)
}

// serveHTTP serves a client that speaks HTTP, until it is closed.
func (n *Server) serveHTTP(p *proxied) { _ = n.web.Serve(&oneListener{p: p}) }

// dialWeb connects for the request that ctx is of.
func (n *Server) dialWeb(ctx context.Context) (net.Conn, error) {
	if t := goesTo(ctx); t.port != 0 {
		return n.connectPatiently(ctx, clientOf(ctx).b, t)
	}
	return nil, errNobody
}

// patient is an upstream that is not heard before it was asked: what a server says too early would be a fault to the transport, which has the
// daemon's standard log know.
type patient struct {
	outsideConn

	once  sync.Once
	asked chan struct{}
}

// outsideConn is an upstream, or TLS on one.
type outsideConn interface {
	net.Conn
	CloseWrite() error
}

func newPatient(c outsideConn) *patient { return &patient{outsideConn: c, asked: make(chan struct{})} }

// connectPatiently is connect for a transport of HTTP.
func (n *Server) connectPatiently(ctx context.Context, b *sandbox, t target) (net.Conn, error) {
	up, refused := n.connect(ctx, b, t)
	if refused != nil {
		return nil, refused
	}
	return n.readyForWeb(ctx, t, up)
}

func (p *patient) ask() { p.once.Do(func() { close(p.asked) }) }

func (p *patient) Read(to []byte) (int, error) {
	<-p.asked
	return p.outsideConn.Read(to)
}

func (p *patient) Write(from []byte) (int, error) {
	p.ask()
	return p.outsideConn.Write(from)
}

func (p *patient) Close() error {
	p.ask()
	return p.outsideConn.Close()
}

// serveRequest serves one request to the proxy, or to a name.
func (n *Server) serveRequest(w http.ResponseWriter, r *http.Request) {
	p := clientOf(r.Context())
	if p.bound != nil {
		n.serveBound(w, r, p)
		return
	}
	t, err := targetOfRequest(r)
	if err != nil {
		via := wire.ViaHTTP
		if r.Method == http.MethodConnect {
			via = wire.ViaConnect
		}
		refused := notAName(err)
		n.refuse(p.b, target{via: via, name: shown(r.RequestURI)}, 0, refused)
		http.Error(w, refused.Error(), http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodConnect {
		n.serveConnect(w, r, p, t)
		return
	}
	n.forward(w, r, p, n.bind(p.b, t))
}

// forward sends a request on, until its client has gone. A client that says no more has not: it may wait for the answer.
func (n *Server) forward(w http.ResponseWriter, r *http.Request, p *proxied, t target) {
	if err := t.checkDressed(r); err != nil {
		n.denyWeb(w, p, t, ofSecret(err))
		return
	}
	ctx, cancel := context.WithCancel(context.WithValue(context.WithoutCancel(r.Context()), webTarget{}, t))
	defer cancel()
	go func() {
		select {
		case <-p.Silent():
			cancel()
		case <-ctx.Done():
		}
	}()
	_ = http.NewResponseController(w).EnableFullDuplex() // the server may answer before it has heard all
	n.plain.ServeHTTP(w, r.WithContext(ctx))
}

// serveConnect connects to what a CONNECT names, and carries bytes from then on.
func (n *Server) serveConnect(w http.ResponseWriter, r *http.Request, p *proxied, t target) {
	t = n.bind(p.b, t)
	up, refused := n.connect(r.Context(), p.b, t)
	if refused != nil {
		answerWeb(w, refused)
		return
	}
	conn, said, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.SetDeadline(time.Time{})
		_, err = fmt.Fprintf(conn, "HTTP/1.1 %d Connection established\r\n\r\n", http.StatusOK)
	}
	if err != nil {
		up.reset()
		return
	}
	n.relay(p.ctx, p.b, t, p, said.Reader, up)
}

// denyWeb notes that a request is not sent, and tells its client why.
func (n *Server) denyWeb(w http.ResponseWriter, p *proxied, t target, v egress.Verdict) {
	connection := uint64(0)
	if p.bound != nil {
		connection = p.bound.connection
	}
	refused := denied(v)
	n.refuse(p.b, t, connection, refused)
	answerWeb(w, refused)
}

// answerWeb tells a client of the proxy why it was refused.
func answerWeb(w http.ResponseWriter, r *refusal) {
	code := map[door.Reason]int{door.Denied: http.StatusForbidden, door.Busy: http.StatusServiceUnavailable}[r.reason]
	if code == 0 {
		code = http.StatusBadGateway
	}
	http.Error(w, "sandpool: "+r.Error(), code)
}

// targetOfRequest reads what a request to the proxy is for. What could be taken for two things is neither.
func targetOfRequest(r *http.Request) (target, error) {
	if r.Method == http.MethodConnect {
		return splitTarget(wire.ViaConnect, r.RequestURI)
	}
	rest, plain := cutPrefixFold(r.RequestURI, "http://")
	switch {
	case !plain && strings.HasPrefix(r.RequestURI, "/"):
		return target{}, errors.New("this is a proxy: it serves CONNECT, requests for http:// and SOCKS5")
	case !plain:
		return target{}, errors.New("the proxy serves requests for http:// only; others come by CONNECT")
	}
	authority, _, _ := strings.Cut(rest, "/")
	authority, _, _ = strings.Cut(authority, "?")
	if authority != r.URL.Host || r.URL.User != nil || r.Host != r.URL.Host {
		return target{}, errors.New("the request names its host in more than one way")
	}
	return splitTarget(wire.ViaHTTP, withPort(authority))
}

func cutPrefixFold(text, prefix string) (rest string, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}
