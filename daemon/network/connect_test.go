package network

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// read reads a number of bytes.
func read(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(p)
}

// TestConnect has a client connected by name: bytes go both ways, each end may have said all first, and it is all in the log.
func TestConnect(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7,80,443"))
	st := w.connect("GOOD.example.", 7)
	_, _ = io.WriteString(st, "ping")
	if got := read(t, st, 4); got != "ping" {
		t.Errorf("got %q", got)
	}
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(st); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	w.wait("the connection is logged", func() bool { return len(w.entries(wire.NetworkClosed)) == 1 })
	e := w.entries(wire.NetworkClosed)[0]
	if e.Name != "good.example" || e.Port != 7 || e.Address != "203.0.113.10:7" || e.SentBytes != 4 || e.GotBytes != 4 || e.Rule != "good.example:7,80,443" {
		t.Errorf("entry: %+v", e)
	}
	if opened := w.entries(wire.NetworkOpened); len(opened) != 1 || opened[0].Connection != e.Connection {
		t.Errorf("opened: %+v", opened)
	}
	if learned, err := w.n.Learned(sandboxID); err != nil || !slices.Equal(learned, []string{"good.example:7"}) {
		t.Errorf("learned: %q, %v", learned, err)
	}
	first := w.connect("good.example", 443) // whose server speaks first
	if got := read(t, first, 6); got != "hello\n" {
		t.Errorf("the server's first words: %q", got)
	}
}

// TestResets has a connection that one end breaks broken at the other end.
func TestResets(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7,9,10"))
	broken := make(chan error, 1)
	w.listen(9, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	w.listen(10, func(c net.Conn) {
		_, _ = io.WriteString(c, "here")
		_, err := c.Read(make([]byte, 1))
		broken <- err
	})
	st := w.connect("good.example", 9)
	_, _ = io.WriteString(st, "ping")
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, door.ErrReset) {
		t.Errorf("the outside has reset the connection: read: %v", err)
	}
	st = w.connect("good.example", 10)
	read(t, st, 4)
	st.Reset()
	if err := <-broken; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the sandbox has reset the connection: the outside reads %v", err)
	}
	st = w.connect("good.example", 10)
	read(t, st, 4)
	w.box.Close()
	if err := <-broken; err == nil {
		t.Errorf("the session has ended: the outside reads %v", err)
	}
	w.wait("all are closed", func() bool { return len(w.entries(wire.NetworkClosed)) == 3 })
}

// TestHalfClosedByTheOutside has a client go on sending to a server that has said all.
func TestHalfClosedByTheOutside(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:9"))
	got := make(chan string, 1)
	w.listen(9, func(c net.Conn) {
		_, _ = io.WriteString(c, "all")
		_ = c.(*net.TCPConn).CloseWrite()
		rest, _ := io.ReadAll(c)
		got <- string(rest)
	})
	st := w.connect("good.example", 9)
	if all, err := io.ReadAll(st); err != nil || string(all) != "all" {
		t.Fatalf("read: %q, %v", all, err)
	}
	_, _ = io.WriteString(st, "more")
	_ = st.CloseWrite()
	if rest := <-got; rest != "more" {
		t.Errorf("the outside got %q", rest)
	}
}

// TestRefusals has each kind of failure say what it is, inside and in the log.
func TestRefusals(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7,81", "gone.example", "lost.example", "127.0.0.1.nip.example"))
	w.name("lost.example")
	for _, c := range []struct {
		name   string
		port   int
		reason door.Reason
		kind   string
		text   string
	}{
		{"other.example", 443, door.Denied, egress.KindDefault, "No rule of the template allows other.example:443."},
		{"good.example", 22, door.Denied, egress.KindDefault, "at other ports than 22"},
		{"good.example", 81, door.Failed, "", "The connection to good.example:81 failed: connection refused."},
		{"gone.example", 443, door.NotFound, "", "The name gone.example was not found."},
		{"127.1", 80, door.Denied, egress.KindName, "is not the name of a host"},
		{"", 80, door.Denied, egress.KindName, "is not the name of a host"},
		{strings.Repeat("a", 300), 80, door.Denied, egress.KindName, "is not the name of a host"},
		{"bücher.example", 80, door.Denied, egress.KindName, "xn--"},
		{"good.example", 0, door.Denied, egress.KindName, "0 is no port."},
	} {
		_, _, err := w.ask(door.Ask{Kind: door.Connect, Name: c.name, Port: c.port})
		r, ok := errors.AsType[*door.Refusal](err)
		if !ok || r.Reason != c.reason || !strings.Contains(r.Text, c.text) {
			t.Errorf("%.20s port %d: %v, want %s %q", c.name, c.port, err, c.reason, c.text)
			continue
		}
		all, _, _ := w.n.Log(sandboxID, 0)
		if e := all[len(all)-1]; e.Kind != c.kind || e.Message != r.Text || e.Port != c.port || e.Name == "" || e.Name == "invalid IP" {
			t.Errorf("%.20s port %d: entry %+v", c.name, c.port, e)
		}
	}
	if _, _, err := w.ask(door.Ask{Kind: door.Dial, Port: 80}); err == nil {
		t.Error("a sandbox has the daemon dial as the daemon has sandboxes")
	}
}

// TestAddressesOfTheHost has an address that is like any other denied once this host has it, unless a rule is about it.
func TestAddressesOfTheHost(t *testing.T) {
	public := netip.MustParseAddr("5.5.5.5")
	for what, c := range map[string]struct {
		layers egress.Layers
		denied bool
	}{
		"by its name alone": {box("host.example:80", "*:80"), true},
		"by its address":    {box("host.example:80", "5.5.5.5:80"), false},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, Options{}, c.layers)
			w.name("host.example", public)
			w.connect("host.example", 80)
			if err := ownAddress(public); err != nil {
				t.Fatal(err)
			}
			w.n.hosts.mu.Lock()
			w.n.hosts.all = nil // as when they have their age
			w.n.hosts.mu.Unlock()
			reason, text := w.reason("host.example", 80)
			why, err := w.n.Why(t.Context(), sandboxID, "host.example", 80)
			if (reason == door.Denied) != c.denied || strings.Contains(text, "an address of this host") != c.denied || why.Allowed == c.denied || err != nil {
				t.Errorf("%q %s; %+v, %v", reason, text, why, err)
			}
			if err := ownAddress(netip.IPv4Unspecified()); err != nil { // which takes it away
				t.Fatal(err)
			}
		})
	}
}

// TestResolve has a sandbox told by which ports a name may be reached.
func TestResolve(t *testing.T) {
	w := newWorld(t, Options{}, box("*.good.example", "good.example:7"))
	w.name("a.good.example", goodAddr)
	for name, want := range map[string]string{
		"a.good.example": "80 443", "good.example": "7", "gone.good.example": "not found", "other.example": "denied", "0x7f.1": "denied",
	} {
		_, words, err := w.ask(door.Ask{Kind: door.Resolve, Name: name})
		got := strings.Join(words, " ")
		if r, ok := errors.AsType[*door.Refusal](err); ok {
			got = string(r.Reason)
		}
		if got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

// TestSilentResolver has a lookup and a connection end that no resolver answers for.
func TestSilentResolver(t *testing.T) {
	w := newWorld(t, Options{LookupTimeout: 100 * time.Millisecond}, box("slow.example"))
	w.name("slow.example", func() { <-t.Context().Done() })
	for _, ask := range []door.Ask{{Kind: door.Resolve, Name: "slow.example"}, {Kind: door.Connect, Name: "slow.example", Port: 80}} {
		_, _, err := w.ask(ask)
		if r, ok := errors.AsType[*door.Refusal](err); !ok || r.Reason != door.Failed || !strings.Contains(r.Text, errLookupSlow.Error()) {
			t.Errorf("%+v: %v", ask, err)
		}
	}
}

// TestTable has a sandbox told its names as it is served, and when they change.
func TestTable(t *testing.T) {
	w := newWorld(t, Options{}, box("b.example", "a.example:22", "*.c.example"))
	last := func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.tables) == 0 {
			return ""
		}
		return w.tables[len(w.tables)-1]
	}
	w.wait("the first table", func() bool { return last() == "a.example 22 b.example 80,443" })
	w.set(box("d.example"))
	w.wait("the second table", func() bool { return last() == "d.example 80,443" })
	if err := w.n.Set(sandboxID, box("a:b:c")); err == nil || !strings.Contains(err.Error(), "a:b:c") {
		t.Errorf("rules that cannot be read: %v", err)
	}
}

// TestTableOfASandboxThatEnds has nothing said of a table that a sandbox did not take before its end, as one that is paused does not.
func TestTableOfASandboxThatEnds(t *testing.T) {
	var log bytes.Buffer
	n := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err := n.Set("quiet", box("a.example")); err != nil {
		t.Fatal(err)
	}
	in, inside, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	beside, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- n.Serve(t.Context(), "quiet", door.New(in, out, door.Options{})) }()
	b, err := n.find("quiet")
	if err != nil {
		t.Fatal(err)
	}
	for len(b.table) > 0 {
		runtime.Gosched()
	}
	n.Forget("quiet")
	if err := <-served; err != nil || log.Len() > 0 {
		t.Errorf("served with %v, and said %q", err, log.String())
	}
	_, _ = inside.Close(), beside.Close()
}

// TestRulesChange has a change of rules hold for new connections, while a download goes on.
func TestRulesChange(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7"))
	st := w.connect("good.example", 7)
	_, _ = io.WriteString(st, "ping")
	read(t, st, 4)
	w.set(box("other.example"))
	_, _ = io.WriteString(st, "pong")
	if got := read(t, st, 4); got != "pong" {
		t.Errorf("got %q", got)
	}
	if _, _, err := w.ask(door.Ask{Kind: door.Connect, Name: "good.example", Port: 7}); err == nil {
		t.Error("a new connection goes by the old rules")
	}
}

// TestForget has nothing left of a sandbox.
func TestForget(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7"))
	st := w.connect("good.example", 7)
	_, next, more := w.n.Log(sandboxID, 0)
	if next == 0 || more == nil {
		t.Error("nothing is logged")
	}
	w.n.Forget(sandboxID)
	<-more
	if _, err := st.Read(make([]byte, 1)); err == nil {
		t.Error("its connection goes on")
	}
	if _, _, more := w.n.Log(sandboxID, 0); more != nil {
		t.Error("its log goes on")
	}
	if _, err := w.n.Dial(t.Context(), sandboxID, 8080); err == nil {
		t.Error("it can be dialed")
	}
}

// TestDial connects into a sandbox.
func TestDial(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example"))
	w.connect("good.example", 80) // by when the session is served
	c, err := w.n.Dial(t.Context(), sandboxID, 8080)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "ping")
	if got := read(t, c, 4); got != "ping" {
		t.Errorf("got %q", got)
	}
	_ = c.Close()
	if _, err := w.n.Dial(t.Context(), sandboxID, 1); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
}

// TestNextSession has the session before give way to the next one.
func TestNextSession(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:80"))
	w.connect("good.example", 80) // by when the first session is served
	before := w.box
	w.box = w.serve(sandboxID, door.Options{})
	<-before.Done()
	if code, body := w.request("GET http://good.example/a HTTP/1.1\r\nHost: good.example\r\n\r\n"); code != http.StatusOK || body != "good good.example /a" {
		t.Errorf("%d %s", code, body)
	}
}
