package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// opens are the ways to be connected to good.example's port 80.
func (w *world) opens() map[string]func() *door.Stream {
	return map[string]func() *door.Stream{
		"name": func() *door.Stream { return w.connect("good.example", 80) },
		"connect": func() *door.Stream {
			st := w.proxy()
			_, _ = io.WriteString(st, "CONNECT good.example:80 HTTP/1.1\r\nHost: good.example:80\r\n\r\n")
			read(w.t, st, len("HTTP/1.1 200 Connection established\r\n\r\n"))
			return st
		},
		"socks": func() *door.Stream {
			st := w.proxy()
			_, _ = io.WriteString(st, socksRequest("good.example", 80))
			read(w.t, st, 12)
			return st
		},
	}
}

// TestHostOfAnotherName has requests to good.example's server for other names refused, and all others served, by every way there.
func TestHostOfAnotherName(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:80", "front.example:81"))
	asked := make(chan string, 1000)
	w.handle(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- r.Host
		_, _ = fmt.Fprintf(rw, "%s %s %s %q", r.Method, r.Host, r.RequestURI, body)
	})
	const front = "the client was connected to good.example, and its request is for \"front.example"
	for via, open := range w.opens() {
		for _, c := range []struct{ said, want string }{
			{get("/a%2fb?c=d", "good.example"), `GET good.example /a%2fb?c=d ""`},
			{get("/", "GOOD.example.:80"), `GET GOOD.example.:80 / ""`},
			{"GET / HTTP/1.0\r\n\r\n", `GET good.example / ""`},
			{"POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\n\r\n", `POST good.example / "body"`},
			{get("http://good.example/x", "good.example"), `GET good.example /x ""`},
			{get("/", "front.example"), front},
			{get("/", "front.example:80"), front},
			{get("/", "good.example:81"), "its request is for"},
			{get("/", "good.example@front.example"), "400 Bad Request"},
			{get("http://front.example/", "good.example"), front},
			{get("http://good.example@front.example/", "good.example"), "is asked for"},
			{get("//front.example/", "good.example"), "GET good.example //front.example/"},
			{"\r\n" + get("/", "front.example"), "400 Bad Request"},
			{"CONNECT front.example:80 HTTP/1.1\r\nHost: good.example\r\nConnection: close\r\n\r\n", "is asked for"},
			{"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n" + get("/", "front.example"), front},
			{"POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get("/", "front.example"), front},
			{"POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding : chunked\r\nConnection: close\r\n\r\n0\r\n\r\n" + get("/", "front.example"), "400 Bad Request"},
			{"GET / HTTP/1.1\r\nHost: good.example\r\nHost: front.example\r\n\r\n", "400 Bad Request"},
			{"GET /\r\n\r\n", "400 Bad Request"},
			{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
		} {
			if got := exchange(open(), c.said); !strings.Contains(strings.ToLower(got), strings.ToLower(c.want)) {
				t.Errorf("by %s, %q: %q, want %q", via, c.said, got, c.want)
			}
		}
	}
	for len(asked) > 0 {
		if host := <-asked; !strings.HasPrefix(strings.ToLower(host), "good.example") {
			t.Errorf("the server was asked for %q", host)
		}
	}
	if e := w.entries(wire.NetworkDenied)[0]; e.Kind != egress.KindSNI || e.Connection == 0 {
		t.Errorf("entry: %+v", e)
	}
}

// upgraded is what a server says when it leaves HTTP.
const upgraded = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// TestHTTPOverOneConnection has a client make requests over one connection, each as long as it likes, and leave HTTP at the end.
func TestHTTPOverOneConnection(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:80"))
	w.handle(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_ = http.NewResponseController(rw).EnableFullDuplex()
			_, _ = io.Copy(rw, r.Body)
			return
		}
		c, rest, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, upgraded)
		_, _ = io.Copy(c, rest)
		_ = c.Close()
	})
	st := w.connect("good.example", 80)
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return st, nil }, MaxConnsPerHost: 1}
	bodiesComeBack(t, transport, 8<<20, nil)
	if opened := w.entries(wire.NetworkOpened); len(opened) != 1 {
		t.Errorf("the outside has %d connections", len(opened))
	}
	transport.CloseIdleConnections()
	st = w.connect("good.example", 80)
	_, _ = io.WriteString(st, "GET / HTTP/1.1\r\nHost: good.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if head := read(t, st, len(upgraded)); head != upgraded {
		t.Fatalf("%q", head)
	}
	_, _ = io.WriteString(st, "ping")
	if got := read(t, st, 4); got != "ping" {
		t.Errorf("got %q", got)
	}
	_ = st.Close()
	w.wait("all are closed", func() bool { return len(w.entries(wire.NetworkClosed)) == 2 })
}

// bodiesComeBack sends requests with bodies of every length, whose answers have as much.
func bodiesComeBack(t *testing.T, transport *http.Transport, most int, header http.Header) {
	t.Helper()
	for size := 1; size < most; size *= 64 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://good.example/", io.LimitReader(zeros{}, int64(size)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header.Clone()
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if int(got) != size || err != nil {
			t.Errorf("%d bytes of %d: %v", got, size, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestHalfClosedRequest has a client that says all it has to say before it reads get its answer.
func TestHalfClosedRequest(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7,80"))
	said, release := make(chan struct{}), make(chan struct{})
	w.handle(func(rw http.ResponseWriter, r *http.Request) {
		close(said)
		select {
		case <-release:
			_, _ = io.WriteString(rw, "answer")
		case <-r.Context().Done(): // it was given up
		}
	})
	st := w.connect("good.example", 80)
	_, _ = io.WriteString(st, "GET / HTTP/1.0\r\n\r\n")
	_ = st.CloseWrite()
	w.wait("the request is there", func() bool {
		select {
		case <-said:
			return true
		default:
			return false
		}
	})
	for range 100 { // what comes behind its end is answered: the end has been heard
		echo := w.connect("good.example", 7)
		_, _ = io.WriteString(echo, "a")
		read(t, echo, 1)
		_ = echo.Close()
	}
	close(release)
	if got, err := io.ReadAll(st); err != nil || !strings.HasSuffix(string(got), "answer") {
		t.Errorf("got %q, %v", got, err)
	}
}
