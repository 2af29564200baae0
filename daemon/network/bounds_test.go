package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// reason asks for a connection and returns why it was refused, or that it was not.
func (w *world) reason(name string, port int) (door.Reason, string) {
	_, _, err := w.ask(door.Ask{Kind: door.Connect, Name: name, Port: port})
	if r, ok := errors.AsType[*door.Refusal](err); ok {
		return r.Reason, r.Text
	}
	return "", fmt.Sprint(err)
}

// TestConnectionsAreBounded has a sandbox, and all of them, have as many connections as they may, by every way.
func TestConnectionsAreBounded(t *testing.T) {
	limited := box("good.example:7")
	limited[0].MaxConnections = 1
	for _, c := range []struct {
		what   string
		o      Options
		layers egress.Layers
		text   string
	}{
		{"of one sandbox", Options{SandboxConnections: 1}, box("good.example:7"), "The sandbox has 1 connections"},
		{"of one sandbox by its rules", Options{}, limited, "The sandbox has 1 connections"},
		{"of all sandboxes", Options{Connections: 1}, box("good.example:7"), "All sandboxes together"},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, c.o, c.layers)
			first := w.connect("good.example", 7)
			if reason, text := w.reason("good.example", 7); reason != door.Busy || !strings.Contains(text, c.text) {
				t.Errorf("one too many: %q %s", reason, text)
			}
			if code, body := w.request("CONNECT good.example:7 HTTP/1.1\r\n\r\n"); code != 503 || !strings.Contains(body, c.text) {
				t.Errorf("one too many by the proxy: %d %s", code, body)
			}
			if e := w.entries(wire.NetworkDenied)[0]; e.Kind != egress.KindLimit {
				t.Errorf("entry: %+v", e)
			}
			_ = first.Close()
			w.wait("the first is closed", func() bool { return len(w.entries(wire.NetworkClosed)) == 1 })
			w.connect("good.example", 7)
		})
	}
}

// TestDialsAreBounded has a sandbox whose names nobody answers for wait for its own, and no other sandbox for it.
func TestDialsAreBounded(t *testing.T) {
	w := newWorld(t, Options{SandboxDials: 2, Dials: 3, ConnectTimeout: hang, LookupTimeout: hang}, box("*.slow.example", "good.example:7"))
	release := make(chan struct{})
	var mu sync.Mutex
	most, now := 0, 0
	hold := func() {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-release
		mu.Lock()
		now--
		mu.Unlock()
	}
	const asked = 32
	for i := range asked {
		w.name(fmt.Sprintf("%d.slow.example", i), hold)
	}
	if err := w.n.Set("other", box("good.example:7")); err != nil {
		t.Fatal(err)
	}
	other := w.serve("other", door.Options{})
	var all sync.WaitGroup
	for i := range asked {
		all.Go(func() {
			if reason, text := w.reason(fmt.Sprintf("%d.slow.example", i), 80); reason != door.NotFound {
				t.Errorf("%d: %q %s", i, reason, text)
			}
		})
	}
	w.wait("the resolver is asked", func() bool { mu.Lock(); defer mu.Unlock(); return now >= 2 })
	st, _, err := other.Open(t.Context(), door.Ask{Kind: door.Connect, Name: "good.example", Port: 7})
	if err != nil {
		t.Errorf("another sandbox: %v", err)
	} else {
		_ = st.Close()
	}
	mu.Lock()
	if most > 2*2*3 { // two names, each by two questions, which are asked again for a while
		t.Errorf("%d questions at once", most)
	}
	mu.Unlock()
	close(release)
	all.Wait()
}

// TestDialsThatWait has a connection that gets no turn end in time, for the sandbox's own dials and for those of all.
func TestDialsThatWait(t *testing.T) {
	w := newWorld(t, Options{SandboxDials: 1, Dials: 1, ConnectTimeout: 50 * time.Millisecond}, box("good.example:7"))
	b, err := w.n.find(sandboxID)
	if err != nil {
		t.Fatal(err)
	}
	b.dials <- struct{}{}
	if reason, text := w.reason("good.example", 7); reason != door.Busy || !strings.Contains(text, "The sandbox has 1 connections and lookups under way") {
		t.Errorf("%q %s", reason, text)
	}
	<-b.dials
	begun, end := make(chan struct{}), make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() { w.n.dials.Pass(t.Context(), "other", func() { close(begun); <-end }) })
	<-begun
	if reason, text := w.reason("good.example", 7); reason != door.Busy || !strings.Contains(text, "All sandboxes together") {
		t.Errorf("%q %s", reason, text)
	}
	close(end)
	holder.Wait()
	if e := w.entries(wire.NetworkDenied); len(e) != 2 || e[1].Kind != egress.KindLimit {
		t.Errorf("entries: %+v", e)
	}
}

// TestNamesByTheThousand has a sandbox that asks for many names cost no more than its bounds.
func TestNamesByTheThousand(t *testing.T) {
	w := newWorld(t, Options{}, box("*.good.example"))
	var all sync.WaitGroup
	const askers, each = 32, 16
	for i := range askers {
		all.Go(func() {
			for j := range each {
				for _, name := range []string{fmt.Sprintf("%d-%d.good.example", i, j), fmt.Sprintf("%d-%d.other.example", i, j)} {
					if _, _, err := w.ask(door.Ask{Kind: door.Resolve, Name: name}); err == nil {
						t.Errorf("%s is there", name)
					}
				}
			}
		})
	}
	all.Wait()
	entries, next, _ := w.n.Log(sandboxID, 0)
	if len(entries) != maxEntries || next != 2*askers*each {
		t.Errorf("%d entries of %d", len(entries), next)
	}
	if told := len(w.told); told != maxTold {
		t.Errorf("%d denials were told, want %d", told, maxTold)
	}
}

// TestStalledSandbox has a sandbox that fills all its windows and reads nothing cost little memory, and no other sandbox its bytes.
func TestStalledSandbox(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7,9"))
	flood := make([]byte, 1<<20)
	w.listen(9, func(c net.Conn) {
		for {
			if _, err := c.Write(flood); err != nil {
				return
			}
		}
	})
	if err := w.n.Set("other", box("good.example:7")); err != nil {
		t.Fatal(err)
	}
	other := w.serve("other", door.Options{})
	before := heap()
	const streams = 250
	for range streams {
		w.connect("good.example", 9)
	}
	st, _, err := other.Open(t.Context(), door.Ask{Kind: door.Connect, Name: "good.example", Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	_ = st.SetDeadline(time.Now().Add(hang))
	const much = 8 << 20
	var writing sync.WaitGroup
	writing.Go(func() {
		for range much / len(flood) {
			if _, err := st.Write(flood); err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	})
	if n, err := io.CopyN(io.Discard, st, much); err != nil {
		t.Errorf("another sandbox got %d bytes: %v", n, err)
	}
	writing.Wait()
	_ = st.Close()
	// Both ends are in this process: the sandbox's keeps its windows, and the host's a block for each stream at most.
	if after := heap(); after > before && after-before > 2*streams*door.DefaultWindow+32<<20 {
		t.Errorf("%d streams that stall take %d MiB", streams, (after-before)>>20)
	}
}

// heap is what is allocated, in bytes.
func heap() uint64 {
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc
}
