package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// TestWhy explains names and addresses, before they are connected to and after.
func TestWhy(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7", "half.example", "bad.example", "gone.example", "10.0.0.0/8"))
	w.name("bad.example", netip.MustParseAddr("127.0.0.1"))
	w.name("half.example", goodAddr)
	for _, c := range []struct {
		host    string
		port    int
		allowed bool
		text    string
		addr    string
	}{
		{"good.example", 7, true, `The rule "good.example:7" of the template allows good.example:7.`, "203.0.113.10"},
		{"GOOD.example.", 7, true, `The rule "good.example:7" of the template allows good.example:7.`, "203.0.113.10"},
		{"good.example", 22, false, "at other ports than 22", ""},
		{"other.example", 443, false, "No rule of the template allows other.example:443.", ""},
		{"bad.example", 443, false, "127.0.0.1:443 is a loopback address", "127.0.0.1"},
		{"gone.example", 443, true, "The name gone.example was not found.", ""},
		{"10.1.2.3", 5432, true, `The rule "10.0.0.0/8"`, "10.1.2.3"},
		{"::ffff:127.0.0.1", 80, false, "a loopback address", "127.0.0.1"},
	} {
		why, err := w.n.Why(t.Context(), sandboxID, c.host, c.port)
		if err != nil {
			t.Errorf("%s: %v", c.host, err)
			continue
		}
		addr := ""
		if len(why.Addresses) > 0 {
			addr = why.Addresses[0].Address
		}
		if why.Allowed != c.allowed || !strings.Contains(why.Message, c.text) || addr != c.addr || why.Last != nil {
			t.Errorf("%s port %d: %+v", c.host, c.port, why)
		}
	}
	if _, err := w.n.Why(t.Context(), sandboxID, "127.1", 80); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no name: %v", err)
	}
	if _, err := w.n.Why(t.Context(), "nobody", "good.example", 80); !errdefs.IsNotFound(err) {
		t.Errorf("no sandbox: %v", err)
	}
	_, _ = w.reason("other.example", 443)
	if why, err := w.n.Why(t.Context(), sandboxID, "other.example", 443); err != nil || why.Last == nil || why.Last.Result != wire.NetworkDenied {
		t.Errorf("after a denial: %+v, %v", why, err)
	}
}

// TestLog is followed as others follow it.
func TestLog(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7"))
	entries, next, more := w.n.Log(sandboxID, 0)
	if len(entries) > 0 || next != 0 {
		t.Errorf("at first: %v, %d", entries, next)
	}
	st := w.connect("good.example", 7)
	<-more
	entries, next, more = w.n.Log(sandboxID, next)
	if len(entries) != 1 || entries[0].Result != wire.NetworkOpened || next != 1 {
		t.Errorf("opened: %+v, %d", entries, next)
	}
	_ = st.Close()
	<-more
	entries, next, _ = w.n.Log(sandboxID, next)
	if len(entries) != 1 || entries[0].Result != wire.NetworkClosed || next != 2 || entries[0].DurationMS <= 0 {
		t.Errorf("closed: %+v, %d", entries, next)
	}
	if entries, _, _ := w.n.Log(sandboxID, 500); len(entries) != 2 {
		t.Errorf("since a number of an earlier daemon: %+v", entries)
	}
	if entries, next, _ = w.n.Log(sandboxID, next); len(entries) > 0 || next != 2 {
		t.Errorf("nothing more: %+v, %d", entries, next)
	}
}

// TestTold has each denial told once a minute, and not more than a number of them.
func TestTold(t *testing.T) {
	j := newJournal()
	now := time.Unix(1e9, 0)
	e := wire.NetworkEntry{Name: "a.example", Kind: egress.KindDefault}
	tell := func(name, rule string, after time.Duration) bool {
		e.Name, e.Rule = name, rule
		return j.toTell(e, now.Add(after))
	}
	got := []bool{
		tell("a.example", "", 0), tell("a.example", "", time.Second), tell("a.example", "*.example", time.Second), tell("b.example", "", 2*time.Second),
		tell("a.example", "", tellAgain-1), tell("a.example", "", tellAgain),
	}
	if want := []bool{true, false, true, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("told: %v, want %v", got, want)
	}
	for range 2 * maxTold {
		e.Name += "a"
		j.toTell(e, now.Add(tellAgain))
	}
	if len(j.told) != maxTold {
		t.Errorf("%d are kept", len(j.told))
	}
}

// TestLearn has a sandbox that learns connect to all but what is special, and tell what it did.
func TestLearn(t *testing.T) {
	w := newWorld(t, Options{}, egress.Layers{{Mode: egress.Door, Learn: true}})
	w.name("bad.example", netip.MustParseAddr("10.0.0.1"))
	w.connect("good.example", 80)
	w.connect("good.example", 7)
	_, _ = io.WriteString(w.proxy(), socksAddress("2001:db8::1", 80))
	if reason, text := w.reason("bad.example", 80); reason != door.Denied {
		t.Errorf("%s %s", reason, text)
	}
	want := []string{"[2001:db8::1]:80", "good.example:7", "good.example:80"}
	var learned []string
	w.wait("three are learned", func() bool {
		var err error
		learned, err = w.n.Learned(sandboxID)
		return err != nil || len(learned) == 3
	})
	if !slices.Equal(learned, want) {
		t.Errorf("learned %q, want %q", learned, want)
	}
	if _, err := egress.Compile(box(learned...)); err != nil {
		t.Errorf("what was learned is no list of rules: %v", err)
	}
}

// TestResolvers has another resolver asked for what the first one does not answer.
func TestResolvers(t *testing.T) {
	w := newWorld(t, Options{Resolvers: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.54:54"), nameAddr}}, box("good.example:7"))
	for range 3 {
		st := w.connect("good.example", 7)
		_ = st.Close()
	}
	w = &world{t: t, n: New(Options{Resolvers: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.54:54")}})}
	_, err := w.n.resolver.LookupHost(t.Context(), "good.example.")
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("no resolver: %v", err)
	}
	// A sandbox that leaves its questions has no resolver passed over.
	left, leave := context.WithCancel(t.Context())
	leave()
	r := &resolvers{list: []netip.AddrPort{nameAddr}, silent: make([]time.Time, 1)}
	if _, err := r.dial(left, "udp", ""); !errors.Is(err, context.Canceled) && !strings.Contains(fmt.Sprint(err), "canceled") || !r.silent[0].IsZero() {
		t.Errorf("who asked has gone: %v, passed over until %s", err, r.silent[0])
	}
}
