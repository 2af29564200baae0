package network

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// hang ends what hangs.
const hang = time.Minute

const sandboxID = "sandbox"

// world is a Server, the other end of a sandbox's door, and an outside where every address answers: good.example has a server of its own.
type world struct {
	t    *testing.T
	n    *Server
	box  *door.Session // the sandbox's end
	told chan wire.NetworkEntry

	mu      sync.Mutex
	web     http.HandlerFunc // of good.example; nil for a usual one
	secure  *tls.Config      // of its port 443, which then speaks HTTPS; nil: what comes is recorded
	records map[string][]any // of names: an address, another name, or what is done instead of an answer
	asked   map[string]int
	tables  []string
	canary  []string // the addresses at which it was met
	got     bytes.Buffer
}

// box are the layers of a template that allows something.
func box(allow ...string) egress.Layers { return egress.Layers{{Mode: egress.Door, Allow: allow}} }

func newWorld(t *testing.T, o Options, layers egress.Layers) *world {
	t.Helper()
	w := &world{t: t, told: make(chan wire.NetworkEntry, 1000), asked: map[string]int{}, records: map[string][]any{"good.example": {goodAddr}}}
	w.serveNames()
	w.listen(80, w.serveHTTP)
	w.listen(443, w.serveSecure)
	w.listen(7, func(c net.Conn) { _, _ = io.Copy(c, c) })
	o.Tell = func(_ string, e wire.NetworkEntry) { w.told <- e }
	if o.Resolvers == nil {
		o.Resolvers = []netip.AddrPort{nameAddr}
	}
	w.n = New(o)
	w.set(layers)
	w.box = w.serve(sandboxID, door.Options{})
	return w
}

// name says what a name has.
func (w *world) name(name string, records ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records[name] = records
}

// handle has good.example answer so.
func (w *world) handle(web http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.web = web
}

func (w *world) set(layers egress.Layers) {
	w.t.Helper()
	if err := w.n.Set(sandboxID, layers); err != nil {
		w.t.Fatal(err)
	}
}

// serve has a sandbox served over a new pair of pipes, and returns its end.
func (w *world) serve(id string, o door.Options) *door.Session {
	w.t.Helper()
	var ends [4]*os.File
	for i := 0; i < len(ends); i += 2 {
		r, s, err := os.Pipe()
		if err != nil {
			w.t.Fatal(err)
		}
		ends[i], ends[i+1] = r, s
	}
	host, inner := door.New(ends[0], ends[3], door.Options{}), door.New(ends[2], ends[1], o)
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.n.Serve(context.Background(), id, host); err != nil {
			w.t.Errorf("serve: %v", err)
		}
	})
	all.Go(func() { _ = inner.Serve(w.inside) })
	w.t.Cleanup(func() { inner.Close(); all.Wait() })
	return inner
}

// inside answers as a sandbox. Its port 8080 echoes.
func (w *world) inside(st *door.Stream) {
	switch ask := st.Ask(); {
	case ask.Kind == door.Table:
		w.mu.Lock()
		w.tables = append(w.tables, strings.Join(ask.Words, " "))
		w.mu.Unlock()
		_ = st.Accept()
	case ask.Kind == door.Dial && ask.Port == 8080:
		_ = st.Accept()
		_, _ = io.Copy(st, st)
	default:
		_ = st.Refuse(door.Refusal{Reason: door.Failed, Text: "connection refused"})
	}
}

// ask opens a stream of the sandbox's.
func (w *world) ask(a door.Ask) (*door.Stream, []string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), hang)
	defer cancel()
	st, words, err := w.box.Open(ctx, a)
	if err == nil {
		_ = st.SetDeadline(time.Now().Add(hang))
		w.t.Cleanup(func() { _ = st.Close() })
	}
	return st, words, err
}

// connect is a connection of the sandbox's to a name.
func (w *world) connect(name string, port int) *door.Stream {
	w.t.Helper()
	st, _, err := w.ask(door.Ask{Kind: door.Connect, Name: name, Port: port})
	if err != nil {
		w.t.Fatalf("connect to %s port %d: %v", name, port, err)
	}
	return st
}

// proxy is a connection of the sandbox's to the proxy.
func (w *world) proxy() *door.Stream {
	w.t.Helper()
	st, _, err := w.ask(door.Ask{Kind: door.Proxy})
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// request has the proxy asked for something, and returns the code and body of the answer.
func (w *world) request(said string) (int, string) {
	w.t.Helper()
	st := w.proxy()
	defer func() { _ = st.Close() }()
	_, _ = io.WriteString(st, said)
	resp, err := http.ReadResponse(bufio.NewReader(st), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	if strings.HasPrefix(said, "CONNECT") && resp.StatusCode == http.StatusOK {
		return resp.StatusCode, ""
	}
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// wait waits until something is so.
func (w *world) wait(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(hang); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within %s", what, hang)
		}
	}
}

// entries are those of the sandbox's log with a result.
func (w *world) entries(result wire.NetworkResult) (all []wire.NetworkEntry) {
	entries, _, _ := w.n.Log(sandboxID, 0)
	for _, e := range entries {
		if e.Result == result {
			all = append(all, e)
		}
	}
	return all
}

// met are the addresses at which the canary was met.
func (w *world) met() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.canary...)
}

// received is what good.example's port 443 has got.
func (w *world) received() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.String()
}
