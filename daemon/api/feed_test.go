package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/events"
	"sandpool/daemon/wire"
)

// newFeed is a log of events, an API that shows it and nothing else, and what tells that the daemon stops.
func newFeed(t *testing.T, keep int) (log *events.Log, a *api, stop func()) {
	t.Helper()
	log, err := events.Open(t.TempDir(), keep, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	stopping := make(chan struct{})
	cfg := configs.Default()
	a = &api{
		Options: Options{Events: log, Stopping: stopping, Log: slog.New(slog.DiscardHandler)},
		crowd:   newCrowd(func() *configs.Config { return &cfg }, func(string) {}),
	}
	return log, a, func() { close(stopping) }
}

// getEvents asks for events as a user.
func getEvents(t *testing.T, a *api, uid uint32, query string) (status int, header http.Header, lines *bufio.Reader) {
	t.Helper()
	server := httptest.NewUnstartedServer(a.answer(a.listEvents))
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, actorKey{}, actor{uid: uid})
	}
	server.Start()
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel) // before the server waits for the request's end
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.StatusCode, resp.Header, bufio.NewReader(resp.Body)
}

func nextEvent(t *testing.T, lines *bufio.Reader) (e wire.Event) {
	t.Helper()
	line, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &e)
	}
	if err != nil {
		t.Fatalf("read event: %v (%q)", err, line)
	}
	return e
}

func TestEventsAreFiltered(t *testing.T) {
	log, a, _ := newFeed(t, 100)
	const one, two = "c-aaaaaaaaaaaaaaaa", "c-bbbbbbbbbbbbbbbb"
	for _, e := range []wire.Event{
		{Message: "1", Claim: one, Owner: "uid:4242"}, {Message: "2", Claim: two, Owner: "uid:0"}, {Message: "3", Claim: two, Owner: "uid:4242"}, {Message: "4"},
	} {
		log.Append(e)
	}
	for name, test := range map[string]struct {
		uid         uint32
		query, want string
	}{
		"an operator sees all":      {0, "", "1 2 3 4"},
		"a user sees its own":       {4242, "", "1 3"},
		"another user sees none":    {4243, "?follow=false", ""},
		"one claim":                 {0, "?claim=" + two, "2 3"},
		"a user's claim":            {4242, "?claim=" + two, "3"},
		"an unknown claim":          {0, "?claim=c-cccccccccccccccc", ""},
		"after the last":            {0, "?after=" + log.Last(), ""},
		"from now on":               {0, "?after=now", ""},
		"after the start":           {0, "?after=", "1 2 3 4"},
		"a gap is everybody's":      {4242, "?after=aaaaaaaa-1", "gap 1 3"},
		"a gap is every claim's":    {0, "?after=aaaaaaaa-1&claim=" + one, "gap 1"},
		"a gap is a stranger's too": {4243, "?after=aaaaaaaa-1", "gap"},
	} {
		t.Run(name, func(t *testing.T) { expectEvents(t, a, test.uid, test.query, test.want) })
	}
}

// expectEvents wants the messages of the events that a user gets; that of a gap is "gap".
func expectEvents(t *testing.T, a *api, uid uint32, query, want string) {
	t.Helper()
	status, _, lines := getEvents(t, a, uid, query)
	var got []string
	for dec := json.NewDecoder(lines); ; {
		var e wire.Event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e.Kind == events.KindGap {
			e.Message = e.Kind
		}
		got = append(got, e.Message)
	}
	if strings.Join(got, " ") != want || status != http.StatusOK {
		t.Errorf("%q: got %v with status %d, want %s", query, got, status, want)
	}
}

// TestGapsAreTheirOwners has one user's events push out others of its own: nobody else is told of a gap, and who asks for all that is
// kept is told of none.
func TestGapsAreTheirOwners(t *testing.T) {
	log, a, _ := newFeed(t, 4)
	first := log.Append(wire.Event{Message: "1", Owner: "uid:4242"}).Cursor
	log.Append(wire.Event{Message: "2", Owner: "uid:4242"})
	flood := log.Append(wire.Event{Message: "x", Owner: "uid:4243"}).Cursor
	for range 600 {
		log.Append(wire.Event{Message: "x", Owner: "uid:4243"})
	}
	kept := "x x x x x"
	expectEvents(t, a, 4242, "", "1 2")
	expectEvents(t, a, 4242, "?after="+first, "2")
	expectEvents(t, a, 4243, "?after="+flood, "gap "+kept)
	expectEvents(t, a, 4243, "", kept)
	expectEvents(t, a, 0, "?after="+first, "2 gap "+kept)
	expectEvents(t, a, 0, "", "1 2 "+kept)
}

// TestAllThatIsKeptHasNoGap reads more than comes at once, with a gap far behind the start.
func TestAllThatIsKeptHasNoGap(t *testing.T) {
	log, a, _ := newFeed(t, 600)
	first := log.Append(wire.Event{Message: "1", Owner: "uid:4242"}).Cursor
	for range 299 {
		log.Append(wire.Event{Message: "1", Owner: "uid:4242"})
	}
	for range 1501 {
		log.Append(wire.Event{Message: "x", Owner: "uid:4243"})
	}
	quiet, loud := strings.Repeat(" 1", 299), strings.Repeat(" x", 301)
	expectEvents(t, a, 0, "", "1"+quiet+loud)
	expectEvents(t, a, 0, "?after="+first, quiet[1:]+" gap"+loud)
}

func TestBadEventRequests(t *testing.T) {
	_, a, _ := newFeed(t, 10)
	for query, want := range map[string]string{
		"?after=x":       "no cursor",
		"?follow=always": "want true or false",
		"?claim=x":       "not the id of a claim",
		"?claims=x":      "unknown parameter",
		"?a%zz":          "query",
	} {
		status, _, lines := getEvents(t, a, 0, query)
		body, err := io.ReadAll(lines)
		if status != http.StatusBadRequest || !strings.Contains(string(body), want) || err != nil {
			t.Errorf("%s: got %d %s (%v), want %q", query, status, body, err, want)
		}
	}
}

// TestEventsAreFollowed follows the log over a broken connection until the daemon stops.
func TestEventsAreFollowed(t *testing.T) {
	log, a, stop := newFeed(t, 10)
	log.Append(wire.Event{Message: "before"})
	_, header, lines := getEvents(t, a, 0, "?follow=true&after=now")
	cursor := header.Get(wire.CursorHeader)
	if cursor != log.Last() {
		t.Errorf("it goes on from %q, want %q", cursor, log.Last())
	}
	log.Append(wire.Event{Message: "a"})
	log.Append(wire.Event{Message: "b"})
	for _, want := range []string{"a", "b"} {
		if e := nextEvent(t, lines); e.Message != want || time.Since(e.Time) > time.Hour {
			t.Errorf("got %v, want %s", e, want)
		}
	}
	_, _, again := getEvents(t, a, 0, "?follow=true&after="+cursor)
	for _, want := range []string{"a", "b"} {
		if e := nextEvent(t, again); e.Message != want {
			t.Errorf("got %v, want %s", e, want)
		}
	}
	stop()
	for _, lines := range []*bufio.Reader{lines, again} {
		if left, err := io.ReadAll(lines); len(left) > 0 || err != nil {
			t.Errorf("after the stop came %q (%v), want the end", left, err)
		}
	}
}
