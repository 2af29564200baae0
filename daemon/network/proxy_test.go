package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// client is an HTTP client inside, which has the proxy in its environment.
func (w *world) client() *http.Client {
	transport := &http.Transport{
		Proxy:       http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:3128"}),
		DialContext: func(context.Context, string, string) (net.Conn, error) { return w.proxy(), nil },
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// TestPlainHTTP has a client make several requests over one connection to the proxy, of each kind that servers and clients make.
func TestPlainHTTP(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:80", "other.example"))
	w.name("other.example", goodAddr)
	seen := make(chan http.Header, 10)
	w.handle(func(rw http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Trailer", "X-Sum")
		rw.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(rw, "%s %s %s %q", r.Method, r.Host, r.RequestURI, body)
		rw.Header().Set("X-Sum", "42")
	})
	client := w.client()
	for _, host := range []string{"good.example", "other.example", "GOOD.example:80", "good.example"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+host+"/a%2fb?c=%20d", io.NopCloser(strings.NewReader("body")))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Connection": "X-Mine", "X-Mine": "1", "Proxy-Authorization": "Basic eDp5", "X-End": "2"} {
			req.Header.Set(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		want := fmt.Sprintf("POST %s /a%%2fb?c=%%20d %q", host, "body")
		if err != nil || resp.StatusCode != http.StatusTeapot || string(body) != want || resp.Trailer.Get("X-Sum") != "42" {
			t.Errorf("%d %q %v %v, %v; want %q", resp.StatusCode, body, resp.Header, resp.Trailer, err, want)
		}
		h := <-seen
		for _, hop := range []string{"X-Mine", "Proxy-Authorization", "X-Forwarded-For", "Via", "Forwarded"} {
			if h.Get(hop) != "" {
				t.Errorf("the server sees %s: %q", hop, h.Get(hop))
			}
		}
		if h.Get("X-End") != "2" {
			t.Errorf("the server sees %v", h)
		}
	}
	w.wait("each request is logged", func() bool { return len(w.entries(wire.NetworkClosed)) == 4 })
	if e := w.entries(wire.NetworkClosed)[0]; e.Via != wire.ViaHTTP || e.SentBytes == 0 || e.GotBytes == 0 {
		t.Errorf("entry: %+v", e)
	}
}

// TestUpgrade has a client and a server leave HTTP, as for a WebSocket.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example"))
	w.handle(func(rw http.ResponseWriter, _ *http.Request) {
		c, rest, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, upgraded)
		_, _ = io.Copy(c, rest)
		_ = c.Close()
	})
	st := w.proxy()
	_, _ = io.WriteString(st, "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if head := read(t, st, len(upgraded)); head != upgraded {
		t.Fatalf("%q", head)
	}
	_, _ = io.WriteString(st, "ping")
	if got := read(t, st, 4); got != "ping" {
		t.Errorf("got %q", got)
	}
}

// TestConnectByProxy has both kinds of tunnels carry bytes that come with the request and after it, and ends.
func TestConnectByProxy(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7", "203.0.113.10:7"))
	for said, answer := range map[string]string{
		"CONNECT good.example:7 HTTP/1.1\r\nHost: good.example:7\r\n\r\nping": "HTTP/1.1 200 Connection established\r\n\r\nping",
		"CONNECT 203.0.113.10:7 HTTP/1.0\r\n\r\nping":                         "HTTP/1.1 200 Connection established\r\n\r\nping",
		socksRequest("good.example", 7) + "ping":                              "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00ping",
		socksAddress("203.0.113.10", 7) + "ping":                              "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00ping",
	} {
		st := w.proxy()
		_, _ = io.WriteString(st, said)
		if got := read(t, st, len(answer)); got != answer {
			t.Errorf("%q: got %q", said, got)
		}
		_, _ = io.WriteString(st, "pong")
		_ = st.CloseWrite()
		if rest, err := io.ReadAll(st); string(rest) != "pong" || err != nil {
			t.Errorf("%q: got %q, %v", said, rest, err)
		}
	}
	w.wait("each is logged", func() bool { return len(w.entries(wire.NetworkClosed)) == 4 })
}

// TestProxyRefusals has the proxy say why, in the client's protocol.
func TestProxyRefusals(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:80,81", "gone.example"))
	for _, c := range []struct {
		said string
		code int
		body string
	}{
		{"CONNECT other.example:443 HTTP/1.1\r\n\r\n", http.StatusForbidden, "sandpool: No rule of the template allows other.example:443.\n"},
		{"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n", http.StatusForbidden, "sandpool: No rule of the template allows other.example:80.\n"},
		{"GET http://10.0.0.1/ HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n", http.StatusForbidden, "a private address"},
		{"GET http://gone.example/ HTTP/1.1\r\nHost: gone.example\r\n\r\n", http.StatusBadGateway, "sandpool: The name gone.example was not found.\n"},
		{"CONNECT good.example:81 HTTP/1.1\r\n\r\n", http.StatusBadGateway, "connection refused"},
		{"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", http.StatusBadRequest, "This is a proxy"},
		{"CONNECT a:443@b:1 HTTP/1.1\r\n\r\n", http.StatusBadRequest, "no HOST:PORT"},
	} {
		if code, body := w.request(c.said); code != c.code || !strings.Contains(body, c.body) {
			t.Errorf("%.40q: %d %q, want %d %q", c.said, code, body, c.code, c.body)
		}
	}
	for said, code := range map[string]byte{
		socksRequest("other.example", 443): socksDenied, socksRequest("gone.example", 80): socksNotFound, socksAddress("10.0.0.1", 80): socksDenied,
		socksRequest("127.1", 80): socksDenied, "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50": socksNoCommand,
	} {
		if got := exchange(w.proxy(), said); len(got) != 12 || got[3] != code {
			t.Errorf("%q: %q, want code %d", said, got, code)
		}
	}
	exchange(w.proxy(), "\x04")
	for _, e := range w.entries(wire.NetworkDenied) {
		if e.Name == "" || e.Name == "invalid IP" || e.Message == "" || e.Via == wire.ViaName {
			t.Errorf("entry: %+v", e)
		}
	}
}

// TestProxyOfOneSandbox has a connection to the proxy go by the rules of its own sandbox.
func TestProxyOfOneSandbox(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example"))
	if err := w.n.Set("other", egress.Layers{{Mode: egress.Door, Allow: []string{"other.example"}}}); err != nil {
		t.Fatal(err)
	}
	const get = "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n"
	if code, body := w.request(get); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	mine := w.box
	w.box = w.serve("other", door.Options{})
	if code, body := w.request(get); code != http.StatusForbidden {
		t.Errorf("another sandbox: %d %s", code, body)
	}
	w.box = mine
	if code, body := w.request(get); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
}
