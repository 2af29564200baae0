package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// serveEvents answers GET /v1/events with what handler does, and returns the socket.
func serveEvents(t *testing.T, handler http.HandlerFunc) (socket string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/events", handler)
	return serve(t, mux)
}

// serve returns the socket where handler answers.
func serve(t *testing.T, handler http.Handler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(server.Close)
	return socket
}

func writeEvent(w http.ResponseWriter, cursor string) {
	_ = json.NewEncoder(w).Encode(wire.Event{Cursor: cursor, Time: time.Unix(1e9, 0).UTC(), Kind: "warning", Claim: "c-1", Message: "it ends in 5m"})
}

func TestEvents(t *testing.T) {
	socket := serveEvents(t, func(w http.ResponseWriter, r *http.Request) {
		if want := "after=x-1&claim=c-1&follow=false"; r.URL.RawQuery != want {
			t.Errorf("asked for %s, want %s", r.URL.RawQuery, want)
		}
		writeEvent(w, "x-2")
	})
	for flag, want := range map[string]string{
		"--json=false": time.Unix(1e9, 0).Format(time.DateTime) + "  warning            c-1                 it ends in 5m\n",
		"--json":       `{"cursor":"x-2","time":"2001-09-09T01:46:40Z","kind":"warning","claim":"c-1","message":"it ends in 5m"}` + "\n",
	} {
		var out, errOut strings.Builder
		code := run(t.Context(), []string{"--socket", socket, "events", "--after", "x-1", "--claim", "c-1", flag}, strings.NewReader(""), &out, &errOut)
		if code != 0 || out.String() != want || errOut.Len() > 0 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want %q", flag, code, out.String(), errOut.String(), want)
		}
	}
}

// TestEventsFollow breaks the connection in several ways. Each time the command goes on behind the last event.
func TestEventsFollow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var asked []string
	socket := serveEvents(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Query().Get("after"))
		switch len(asked) {
		case 1:
			w.Header().Set(wire.CursorHeader, "x-1")
		case 2:
			writeEvent(w, "x-2")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 3:
			refuse(w, http.StatusServiceUnavailable, "unavailable", "the daemon is stopping")
		case 4:
			writeEvent(w, "x-3")
			cancel()
		}
	})
	var out, errOut strings.Builder
	code := run(ctx, []string{"--socket", socket, "events", "--follow", "--after", "now", "--json"}, strings.NewReader(""), &out, &errOut)
	if code != 0 || strings.Count(out.String(), "\n") < 1 || !strings.Contains(out.String(), "x-2") {
		t.Errorf("exit %d, stdout %q", code, out.String())
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "[now x-1 x-2 x-2]"; fmt.Sprint(asked) != want {
		t.Errorf("asked for what is after %v, want %s", asked, want)
	}
	if n := strings.Count(errOut.String(), "trying again"); n != 2 {
		t.Errorf("said %d times that it tries again, want 2: %s", n, errOut.String())
	}
}

func TestEventsFollowGivesUp(t *testing.T) {
	socket := serveEvents(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "invalid_argument", "no cursor")
	})
	for where, want := range map[string]int{socket: exitUsage, filepath.Join(t.TempDir(), "none"): exitUnreachable} {
		var out, errOut strings.Builder
		if code := run(t.Context(), []string{"--socket", where, "events", "-f"}, strings.NewReader(""), &out, &errOut); code != want {
			t.Errorf("%s: exit %d, want %d: %s", where, code, want, errOut.String())
		}
	}
}
