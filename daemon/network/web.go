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
)

const (
	// maxWebHeader bounds the headers of a request to the proxy, and of its answer, in bytes.
	maxWebHeader = 64 << 10
	// webIdle is how long a client of the proxy may take to its next request.
	webIdle = 2 * time.Minute
)

// webKey is the context's key for a request's *proxied, and webTarget for what it asks for.
type (
	webKey    struct{}
	webTarget struct{}
)

// serveWeb makes what serves clients that speak HTTP. No connection to the outside is used for two requests: what one request smuggles into it
// is no other's.
func (n *Server) serveWeb() {
	said := slog.NewLogLogger(n.o.Log.Handler(), slog.LevelDebug) // clients' faults
	n.plain = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.URL.Host },
		Transport: &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dialWeb(ctx) },
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxWebHeader,
		},
		FlushInterval: -1,
		ErrorLog:      said,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			t, _ := r.Context().Value(webTarget{}).(target)
			answerWeb(w, refusalOf(r.Context(), t, err))
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

// dialWeb connects for the request that ctx is of.
func (n *Server) dialWeb(ctx context.Context) (net.Conn, error) {
	p, _ := ctx.Value(webKey{}).(*proxied)
	t, ok := ctx.Value(webTarget{}).(target)
	if !ok {
		return nil, errors.New("a connection for nobody")
	}
	up, err := n.connect(ctx, p.b, t)
	if err != nil {
		return nil, err
	}
	return &patient{upstream: up, asked: make(chan struct{})}, nil
}

// patient is an upstream that is not heard before it was asked: what a server says too early would be a fault to the transport, which has the
// daemon's standard log know.
type patient struct {
	*upstream

	once  sync.Once
	asked chan struct{}
}

func (p *patient) ask() { p.once.Do(func() { close(p.asked) }) }

func (p *patient) Read(to []byte) (int, error) {
	<-p.asked
	return p.upstream.Read(to)
}

func (p *patient) Write(from []byte) (int, error) {
	p.ask()
	return p.upstream.Write(from)
}

func (p *patient) Close() error {
	p.ask()
	return p.upstream.Close()
}

// serveRequest serves one request to the proxy.
func (n *Server) serveRequest(w http.ResponseWriter, r *http.Request) {
	p := r.Context().Value(webKey{}).(*proxied)
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
	n.plain.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), webTarget{}, t)))
}

// serveConnect connects to what a CONNECT names, and carries bytes from then on.
func (n *Server) serveConnect(w http.ResponseWriter, r *http.Request, p *proxied, t target) {
	up, err := n.connect(r.Context(), p.b, t)
	if err != nil {
		refused, _ := errors.AsType[*refusal](err)
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
	n.carry(p.b, t, p, said.Reader, up)
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
	for name := range r.Header {
		if strings.ContainsAny(name, " \t") { // others are refused on the way in and out
			return target{}, fmt.Errorf("the name of the header %.80q has a blank", name)
		}
	}
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
	if !strings.Contains(strings.TrimLeft(authority, "["), ":") || strings.HasSuffix(authority, "]") {
		authority += ":80"
	}
	return splitTarget(wire.ViaHTTP, authority)
}

func cutPrefixFold(text, prefix string) (rest string, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}
