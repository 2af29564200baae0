package network

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// token is what the tests' secret is made of.
const token = "s3cr3t-0f-the-host"

// withSecret are layers that allow good.example, and the secret for it.
func withSecret(allow ...string) egress.Layers {
	return egress.Layers{{Mode: egress.Door, Allow: allow, Secrets: []string{"token"}}}
}

// addSecret has good.example speak HTTPS by a certificate for a name, and requests to it be sent with the secret.
func (w *world) addSecret(certified string, handle http.HandlerFunc) {
	w.t.Helper()
	cert := selfSigned(w.t, certified)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	w.mu.Lock()
	w.secure = &tls.Config{Certificates: []tls.Certificate{cert}}
	w.mu.Unlock()
	w.handle(handle)
	w.n.SetSecrets([]Secret{{Name: "token", Hosts: []string{"good.example"}, Header: "X-Api-Key", Value: "Key " + token, Roots: roots}})
}

// secure tells whether a request came by HTTPS.
func secure(r *http.Request) bool {
	return strings.HasSuffix(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String(), ":443")
}

// seen is what a server sees of a request.
func seen(r *http.Request, body []byte) string {
	return fmt.Sprintf("%s %s %s %q tls:%v keys:%q trailer:%v", r.Method, r.Host, r.RequestURI, body, secure(r), r.Header["X-Api-Key"], r.Trailer)
}

// asks has a request sent by a connection, and returns the answer's code and body.
func asks(t *testing.T, st *door.Stream, said string) (int, string) {
	t.Helper()
	_, _ = io.WriteString(st, said)
	resp, err := http.ReadResponse(bufio.NewReader(st), &http.Request{Method: said[:strings.Index(said, " ")]})
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, string(body) + resp.Header.Get("Location")
}

// TestRequestsWithASecret has requests of every kind go by HTTPS with the secret and without what their clients say in its place, by every way there.
func TestRequestsWithASecret(t *testing.T) {
	w := newWorld(t, Options{}, withSecret("good.example:443", "front.example"))
	w.addSecret("good.example", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/home":
			rw.Header().Set("Location", "https://GOOD.example:443/there?a=b")
		case "/away":
			rw.Header().Set("Location", "https://front.example/there")
		}
		_, _ = io.WriteString(rw, seen(r, body))
		for name := range r.Header {
			if strings.Contains(name, "_") {
				_, _ = io.WriteString(rw, " beside "+name)
			}
		}
	})
	ways := w.opens()
	ways["proxy"] = w.proxy
	key := `keys:["Key ` + token + `"]`
	for via, open := range ways {
		for _, c := range []struct {
			said string
			code int
			want string
		}{
			{"GET /a%2fb?c=d HTTP/1.1\r\nHost: good.example\r\n\r\n", 200, `GET good.example /a%2fb?c=d "" tls:true ` + key + " trailer:map[]"},
			{"GET / HTTP/1.1\r\nHost: GOOD.example:80\r\n\r\n", 200, "GET good.example / \"\" tls:true " + key},
			{"GET / HTTP/1.1\r\nHost: good.example\r\nx-api-key: mine\r\nX-API-KEY: mine too\r\n\r\n", 200, key},
			{"GET / HTTP/1.1\r\nHost: good.example\r\nX_Api_Key: mine\r\nx-api_key: mine\r\n\r\n", 200, key + " trailer:map[]"},
			{"GET / HTTP/1.1\r\nHost: good.example\r\nConnection: X-Api-Key, close\r\n\r\n", 200, key},
			{"GET / HTTP/1.1\r\nHost: good.example\r\nX-Other: a\r\n X-Api-Key: mine\r\n\r\n", 200, key},
			{"POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Api-Key\r\n\r\n4\r\nbody\r\n0\r\nX-Api-Key: mine\r\n\r\n", 200, `"body" tls:true ` + key + " trailer:map[]"},
			{"POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: 4\r\n\r\nbody", 200, `"body" tls:true ` + key},
			{"HEAD / HTTP/1.1\r\nHost: good.example\r\n\r\n", 200, ""},
			{"GET /home HTTP/1.1\r\nHost: good.example\r\n\r\n", 200, "http://good.example/there?a=b"},
			{"GET /away HTTP/1.1\r\nHost: good.example\r\n\r\n", 200, "https://front.example/there"},
			{"TRACE / HTTP/1.1\r\nHost: good.example\r\n\r\n", 403, "TRACE"},
			{"GET / HTTP/1.1\r\nHost: good.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", 403, "cannot leave HTTP"},
			{"GET / HTTP/1.1\r\nHost: good.example\r\nX-Api-Key : mine\r\n\r\n", 400, ""},
			{"GET / HTTP/1.1\r\nHost: good.example\r\nHost: front.example\r\n\r\n", 400, ""},
		} {
			said := c.said
			if via == "proxy" {
				method, rest, _ := strings.Cut(said, " ")
				host := "good.example"
				if strings.Contains(said, "GOOD") {
					host = "GOOD.example:80"
				}
				said = method + " http://" + host + rest
			}
			st := open()
			if code, body := asks(t, st, said); code != c.code || !strings.Contains(body, c.want) || strings.Contains(body, " beside ") {
				t.Errorf("by %s, %q: %d %q; want %d %q", via, said, code, body, c.code, c.want)
			}
			_ = st.Close()
		}
		if via == "proxy" {
			continue
		}
		for _, said := range []string{
			get("/", "front.example"), get("http://front.example/", "good.example"), get("/", "good.example:443"),
			"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n" + get("/", "front.example"),
			"POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get("/", "front.example"),
		} {
			if got := exchange(open(), said); !strings.Contains(got, "403 Forbidden") || strings.Contains(got, "front.example /") {
				t.Errorf("by %s, %q: %q", via, said, got)
			}
		}
	}
	if met := w.met(); len(met) > 0 {
		t.Errorf("the secret went to %q", met)
	}
	w.tellsNothing()
}

// tellsNothing wants the value to be in nothing that anybody is told.
func (w *world) tellsNothing() {
	w.t.Helper()
	entries, _, _ := w.n.Log(sandboxID, 0)
	why, err := w.n.Why(w.t.Context(), sandboxID, "good.example", 80)
	var shown wire.Network
	w.n.Describe(sandboxID, &shown)
	text, marshalErr := json.Marshal([]any{entries, why, shown})
	if err != nil || marshalErr != nil || len(entries) == 0 || strings.Contains(string(text), token) || strings.Contains(fmt.Sprintf("%v", *w.n.secrets.Load()), token) {
		w.t.Errorf("%s, %v, %v", text, err, marshalErr)
	}
}

// TestOneConnectionWithASecret has a client make requests of every length over one connection, wait for leave to send one, and lose the secret at the
// end: what began with it does not go on in the clear.
func TestOneConnectionWithASecret(t *testing.T) {
	w := newWorld(t, Options{}, withSecret("good.example"))
	w.addSecret("good.example", func(rw http.ResponseWriter, r *http.Request) {
		if !secure(r) || r.Header.Get("X-Api-Key") == "" {
			t.Error("a request without the secret")
		}
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.CopyN(rw, zeros{}, n)
	})
	st := w.connect("good.example", 80)
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return st, nil }, MaxConnsPerHost: 1, ExpectContinueTimeout: hang}
	bodiesComeBack(t, transport, 4<<20, http.Header{"Expect": {"100-continue"}})
	if opened := w.entries(wire.NetworkOpened); len(opened) != 1 || !slices.Equal(opened[0].Secrets, []string{"token"}) || opened[0].Port != 80 || !strings.HasSuffix(opened[0].Address, ":443") {
		t.Errorf("the outside has %+v", opened)
	}
	if learned, err := w.n.Learned(sandboxID); err != nil || !slices.Equal(learned, []string{"good.example:443"}) {
		t.Errorf("learned %q, %v", learned, err)
	}
	w.set(append(withSecret("good.example"), egress.Policy{Secrets: []string{}}))
	resp, err := (&http.Client{Transport: transport}).Get("http://good.example/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "connect anew") || err != nil {
		t.Errorf("%d %q, %v", resp.StatusCode, body, err)
	}
	transport.CloseIdleConnections()
}

// TestWhoHasASecret says by the verdicts, the ports inside and the requests who may use one: nobody without the rule, the name, the layer or the secret.
func TestWhoHasASecret(t *testing.T) {
	for _, c := range []struct {
		what   string
		layers egress.Layers
		none   bool // the daemon has no such secret
		table  string
		tls    bool
	}{
		{"a template with the secret", withSecret("good.example:443"), false, "good.example 80,443", true},
		{"by a rule for many names", withSecret("*"), false, "", true},
		{"a claim that names it", append(withSecret("good.example"), egress.Policy{Secrets: []string{"token", "x"}}), false, "good.example 80,443", true},
		{"a claim that says nothing of it", append(withSecret("good.example"), egress.Policy{Allow: []string{"*"}}), false, "good.example 80,443", true},
		{"port 443 is not allowed", withSecret("good.example:80"), false, "good.example 80", false},
		{"port 443 is denied", egress.Layers{{Mode: egress.Door, Allow: []string{"good.example"}, Deny: []string{"*:443"}, Secrets: []string{"token"}}}, false, "good.example 80", false},
		{"a template without", box("good.example:80"), false, "good.example 80", false},
		{"a claim of one without", append(box("good.example"), egress.Policy{Secrets: []string{"token"}}), false, "good.example 80,443", false},
		{"a claim without", append(withSecret("good.example"), egress.Policy{Secrets: []string{}}), false, "good.example 80,443", false},
		{"a secret that there is not", withSecret("good.example"), true, "good.example 80,443", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, Options{}, c.layers)
			tables := func() []string { w.mu.Lock(); defer w.mu.Unlock(); return slices.Clone(w.tables) }
			w.wait("the table without a secret", func() bool { return len(tables()) > 0 })
			w.addSecret("good.example", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, seen(r, nil)) })
			if c.none {
				w.n.SetSecrets(nil)
			}
			want := fmt.Sprintf("tls:%v", c.tls)
			for via, open := range map[string]func() *door.Stream{"name": w.opens()["name"], "proxy": w.proxy} {
				code, body := asks(t, open(), "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n")
				if code != http.StatusOK || !strings.Contains(body, want) || strings.Contains(body, token) != c.tls {
					t.Errorf("by %s: %d %s", via, code, body)
				}
			}
			why, err := w.n.Why(t.Context(), sandboxID, "good.example", 80)
			if err != nil || !why.Allowed || strings.Contains(why.Message, "the secret token") != c.tls {
				t.Errorf("why: %+v, %v", why, err)
			}
			w.wait("the table", func() bool { return slices.Contains(tables(), c.table) })
			_, ports, err := w.ask(door.Ask{Kind: door.Resolve, Name: "good.example"})
			if err != nil || !slices.Contains(ports, "80") {
				t.Errorf("ports %q, %v", ports, err)
			}
		})
	}
}

// TestSecretsThatDispute has secrets that a reload has made unfit for one request, or for one server, be sent to nobody, by new connections and by those
// that there are.
func TestSecretsThatDispute(t *testing.T) {
	layers := egress.Layers{{Mode: egress.Door, Allow: []string{"good.example"}, Secrets: []string{"token", "other"}}}
	const both = "secrets token and other cannot both be used for good.example"
	for _, c := range []struct {
		what        string
		header      string
		roots       func(those *x509.CertPool) *x509.CertPool
		without     bool   // the first secret
		anew, stays string // what a new connection and one that there was are told
	}{
		{"one more header", "X-Other", (*x509.CertPool).Clone, false, "200 ", "200 "},
		{"the same header", "x-api-key", (*x509.CertPool).Clone, false, both, both},
		{"the same header to CGI", "X_Api-Key", (*x509.CertPool).Clone, false, both, both},
		{"other authorities", "X-Other", func(*x509.CertPool) *x509.CertPool { return nil }, false, both, both},
		{"another one with other authorities", "X-Other", func(*x509.CertPool) *x509.CertPool { return nil }, true, "no certificate that is believed", "connect anew"},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, Options{}, layers)
			w.addSecret("good.example", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, seen(r, nil)) })
			ways := w.opens()
			ways["proxy"] = w.proxy
			before := map[string]*door.Stream{}
			const said = "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n"
			for via, open := range ways {
				before[via] = open()
				if code, body := asks(t, before[via], said); code != http.StatusOK || !strings.Contains(body, "tls:true") {
					t.Fatalf("by %s, before: %d %s", via, code, body)
				}
			}
			first := (*w.n.secrets.Load())["token"]
			all := []Secret{first, {Name: "other", Hosts: first.Hosts, Header: c.header, Value: "Other " + token, Roots: c.roots(first.Roots)}}
			if c.without {
				all = all[1:]
			}
			w.n.SetSecrets(all)
			for via, open := range ways {
				stays := c.stays
				if via == "proxy" { // each request has a connection of its own
					stays = c.anew
				}
				if code, body := asks(t, before[via], said); !strings.Contains(fmt.Sprint(code, " ", body), stays) {
					t.Errorf("by %s, a connection that there was: %d %s", via, code, body)
				}
				if c.anew == both && via != "proxy" {
					continue // it is not connected at all
				}
				if code, body := asks(t, open(), said); !strings.Contains(fmt.Sprint(code, " ", body), c.anew) {
					t.Errorf("by %s, a new connection: %d %s", via, code, body)
				}
			}
			if c.anew == both {
				if reason, text := w.reason("good.example", 80); reason != door.Denied || !strings.Contains(text, both) {
					t.Errorf("a new connection: %q %s", reason, text)
				}
			}
			if why, err := w.n.Why(t.Context(), sandboxID, "good.example", 80); err != nil || why.Allowed == (c.anew == both) {
				t.Errorf("why: %+v, %v", why, err)
			}
		})
	}
}

// TestServerIsNotBelieved has a server that cannot prove its name get no request, and clients told why.
func TestServerIsNotBelieved(t *testing.T) {
	for _, c := range []struct {
		what  string
		spoil func(w *world)
		why   string
	}{
		{"of another name", func(*world) {}, "certificate is valid for front.example"},
		{"of nobody known", func(w *world) {
			w.n.SetSecrets([]Secret{{Name: "token", Hosts: []string{"good.example"}, Header: "X-Api-Key", Value: token}})
		}, "no certificate that is believed"},
		{"without TLS", func(w *world) { w.mu.Lock(); defer w.mu.Unlock(); w.secure = nil }, "failed"},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, Options{}, withSecret("good.example"))
			w.addSecret("front.example", func(http.ResponseWriter, *http.Request) { t.Error("it got a request") })
			c.spoil(w)
			for via, open := range map[string]func() *door.Stream{"name": w.opens()["name"], "proxy": w.proxy} {
				code, body := asks(t, open(), "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n")
				if code != http.StatusBadGateway || !strings.Contains(body, c.why) {
					t.Errorf("by %s: %d %s", via, code, body)
				}
			}
			if e := w.entries(wire.NetworkFailed); len(e) != 2 || e[0].Connection == 0 || strings.Contains(w.received(), token) {
				t.Errorf("entries %+v; the server got %q", e, w.received())
			}
		})
	}
}
