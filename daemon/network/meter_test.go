package network

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// echoes has a program say so many bytes to a port that echoes, and tells how many came back, and whether the connection was broken.
func (w *world) echoes(st *door.Stream, size int) (got int, broken bool) {
	go func() {
		_, _ = io.Copy(st, io.LimitReader(zeros{}, int64(size)))
		_ = st.CloseWrite()
	}()
	n, err := io.Copy(io.Discard, st)
	return int(n), err != nil
}

// broken wants a connection that stands still to be reset.
func broken(st *door.Stream) error {
	_, err := st.Read(make([]byte, 1))
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("it is not reset: %v", err) //nolint:errorlint // there may be none
	}
	return nil
}

// TestBytesAreBounded has a sandbox send and get no more than it may, by every way, with nothing left open and a word about why.
func TestBytesAreBounded(t *testing.T) {
	const most = 1 << 20
	limited := func(bytes int) egress.Layers {
		return append(box("good.example:7,80"), egress.Policy{MaxBytes: bytes})
	}
	w := newWorld(t, Options{}, limited(most))
	w.handle(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(rw, zeros{}, 8*most) })
	idle := w.connect("good.example", 7)
	if got, broken := w.echoes(w.connect("good.example", 7), most/4); got != most/4 || broken {
		t.Errorf("within the bound: %d bytes, broken: %v", got, broken)
	}
	if got, broken := w.echoes(w.connect("good.example", 7), most); got >= most || !broken {
		t.Errorf("beyond the bound: %d bytes, broken: %v", got, broken)
	}
	if err := broken(idle); err != nil {
		t.Errorf("a connection that stands still ended with %v", err)
	}
	const want = "The sandbox has sent and got 1048576 bytes, as many as it may (max_bytes)."
	if reason, text := w.reason("good.example", 7); reason != door.Denied || text != want {
		t.Errorf("one more: %q %s", reason, text)
	}
	if code, body := w.request("GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n"); code != http.StatusForbidden || !strings.Contains(body, want) {
		t.Errorf("one more by the proxy: %d %s", code, body)
	}
	if why, err := w.n.Why(t.Context(), sandboxID, "good.example", 7); err != nil || why.Allowed || why.Kind != egress.KindLimit || why.Message != want {
		t.Errorf("why: %+v, %v", why, err)
	}
	w.wait("an entry of the connection that went beyond", func() bool {
		return slices.ContainsFunc(w.entries(wire.NetworkDenied), func(e wire.NetworkEntry) bool {
			return e.Kind == egress.KindLimit && e.Connection != 0 && e.Message == want
		})
	})
	if told := <-w.told; told.Kind != egress.KindLimit {
		t.Errorf("told: %+v", told)
	}
	var shown wire.Network
	if w.n.Describe(sandboxID, &shown); shown.UsedBytes <= most {
		t.Errorf("used %d bytes", shown.UsedBytes)
	}

	// A claim begins anew, and what it is given more counts at once, as does what is taken from it.
	w.n.Recount(sandboxID)
	if code, body := asks(t, w.proxy(), "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n"); code != http.StatusOK || body != io.ErrUnexpectedEOF.Error() {
		t.Errorf("by plain HTTP: %d and %d bytes", code, len(body))
	}
	w.set(limited(16 * most))
	idle = w.connect("good.example", 7)
	w.set(limited(1))
	if err := broken(idle); err != nil {
		t.Errorf("with less than it has used a connection ended with %v", err)
	}
	w.wait("all are closed", func() bool { return len(w.entries(wire.NetworkClosed)) == len(w.entries(wire.NetworkOpened)) })
}

// TestRate has all connections of a sandbox together pass no more than its rate allows in the time that they took, in each direction.
func TestRate(t *testing.T) {
	const rate, each, connections = 4 << 20, 2 << 20, 2
	w := newWorld(t, Options{}, append(box("good.example:7,80"), egress.Policy{Rate: rate}))
	w.handle(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			_, _ = io.CopyN(rw, zeros{}, each)
		}
	})
	for said, got := range map[string]int{
		"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n": each,
		fmt.Sprintf("POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: %d\r\n\r\n", each) + strings.Repeat("a", each): 0,
	} {
		begun := time.Now()
		var all sync.WaitGroup
		for range connections {
			st := w.connect("good.example", 80)
			all.Go(func() {
				if code, body := asks(t, st, said); code != http.StatusOK || len(body) != got {
					t.Errorf("%.4s: %d and %d bytes", said, code, len(body))
				}
			})
		}
		all.Wait()
		if allowed := rate/8 + rate*time.Since(begun).Seconds(); connections*each > allowed {
			t.Errorf("%.4s: %d bytes, but %.0f are allowed", said, connections*each, allowed)
		}
	}
	w.set(box("good.example:7"))
	if got, broken := w.echoes(w.connect("good.example", 7), 16*rate); got != 16*rate || broken {
		t.Errorf("without a rate: %d bytes, broken: %v", got, broken)
	}
}

// TestNobodyWaitsForTheRateOfWhatHasGone has connections that their rate holds up end with the sandbox's session, however long they had to wait yet.
func TestNobodyWaitsForTheRateOfWhatHasGone(t *testing.T) {
	w := newWorld(t, Options{}, append(withSecret("good.example:7,443"), egress.Policy{Rate: 1}))
	w.addSecret("good.example", func(http.ResponseWriter, *http.Request) {})
	opens := w.opens()
	opens["proxy"] = w.proxy
	for range 2 {
		st := w.connect("good.example", 7)
		go func() { _, _ = io.Copy(st, zeros{}) }()
	}
	b, err := w.n.find(sandboxID)
	if err != nil {
		t.Fatal(err)
	}
	w.wait("one waits", func() bool { return b.meter.sent.Tokens() < 0 })
	for _, open := range opens {
		st := open()
		go func() {
			_, _ = io.WriteString(st, "POST http://good.example/ HTTP/1.1\r\nHost: good.example\r\nContent-Length: 1048576\r\n\r\n")
		}()
	}
	w.wait("all are open", func() bool { return len(w.entries(wire.NetworkOpened)) == 2+len(opens) })
	w.box.Close()
	closed := func() int { return len(w.entries(wire.NetworkClosed)) }
	for end := time.Now().Add(hang / 2); closed() < 2+len(opens); time.Sleep(time.Millisecond) { // by then the outside hangs up
		if time.Now().After(end) {
			t.Fatalf("%d of %d connections are closed", closed(), 2+len(opens))
		}
	}
}

// TestRateChangesForThoseWhoWait has connections that a low rate holds up go on as soon as it is lifted.
func TestRateChangesForThoseWhoWait(t *testing.T) {
	w := newWorld(t, Options{}, append(box("good.example:7"), egress.Policy{Rate: 1}))
	b, err := w.n.find(sandboxID)
	if err != nil {
		t.Fatal(err)
	}
	const each = 1 << 20
	var all sync.WaitGroup
	for range 2 {
		st := w.connect("good.example", 7)
		all.Go(func() {
			if got, broken := w.echoes(st, each); got != each || broken {
				t.Errorf("%d bytes, broken: %v", got, broken)
			}
		})
	}
	w.wait("one waits", func() bool { return b.meter.sent.Tokens() < 0 })
	w.set(box("good.example:7"))
	all.Wait()
}
