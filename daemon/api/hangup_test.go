package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// say opens a connection and sends text.
func (ts *testServer) say(t *testing.T, text string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: ts.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// hear reads an answer to its end, and the end of the connection if it is to be the last.
func hear(t *testing.T, conn io.Reader) answer {
	t.Helper()
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func request(line, body string) string {
	return fmt.Sprintf("%s HTTP/1.1\r\nHost: sandpool\r\nContent-Length: %d\r\n\r\n%s", line, len(body), body)
}

// TestHalfClosedClientIsAnswered has clients close their own direction behind their request: claims are handed out and kept.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	ts := newTestAPI(t)
	noticed := make(chan struct{})
	ts.before = func(r *http.Request) {
		context.AfterFunc(r.Context(), func() { noticed <- struct{}{} }) // net/http has seen that nothing more comes
	}
	ts.claims.onClaim = func(ctx context.Context) error {
		<-noticed
		return context.Cause(ctx)
	}
	ts.listen(t)
	for _, body := range []string{"", "{}"} {
		conn := ts.say(t, request("POST /v1/claims", body))
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := hear(t, conn); got.status != http.StatusCreated || !strings.Contains(got.body, runningID) {
			t.Errorf("with body %q: %+v", body, got)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after the answer: %v", err)
		}
	}
	select {
	case id := <-ts.claims.released:
		t.Errorf("%s was released", id)
	default:
	}
}

// TestHalfClosedClientHangsUp has a client close its own direction while its claim waits, and then hang up.
func TestHalfClosedClientHangsUp(t *testing.T) {
	ts := newTestAPI(t)
	noticed := make(chan struct{})
	ts.before = func(r *http.Request) { context.AfterFunc(r.Context(), func() { close(noticed) }) }
	given := make(chan error)
	ts.claims.onClaim = func(ctx context.Context) error {
		<-ctx.Done()
		given <- context.Cause(ctx)
		return context.Cause(ctx)
	}
	ts.listen(t)
	conn := ts.say(t, request("POST /v1/claims", ""))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-noticed
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("the claim was given up for %v", err)
	}
}

// TestHalfClosedClientIsCutOff has a stop end its patience while a half-closed client waits.
func TestHalfClosedClientIsCutOff(t *testing.T) {
	ts := newTestAPI(t)
	noticed := make(chan struct{})
	ts.before = func(r *http.Request) { context.AfterFunc(r.Context(), func() { close(noticed) }) }
	ts.claims.onClaim = func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	ts.listen(t)
	conn := ts.say(t, request("POST /v1/claims", ""))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-noticed
	ts.cut(errStopping)
	checkError(t, hear(t, conn), http.StatusServiceUnavailable, "unavailable", "stopping")
}

// TestHalfClosedFollower follows the events by a connection whose client says no more.
func TestHalfClosedFollower(t *testing.T) {
	ts := newTestAPI(t)
	log, a, _ := newFeed(t, 10)
	ts.api.Events, ts.api.Stopping = a.Events, a.Stopping
	noticed := make(chan struct{})
	ts.before = func(r *http.Request) { context.AfterFunc(r.Context(), func() { close(noticed) }) }
	ts.listen(t)
	conn := ts.say(t, request("GET /v1/events?follow=true", ""))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-noticed
	log.Append(wire.Event{Message: "one"})
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := nextEvent(t, bufio.NewReader(resp.Body)); e.Message != "one" {
		t.Errorf("event is %+v", e)
	}
	_ = conn.Close() // which ends the body too
	_ = resp.Body.Close()
}

// TestBodyThatDoesNotCome begins bodies that never end. The answer comes in spite of that.
func TestBodyThatDoesNotCome(t *testing.T) {
	ts := newTestAPI(t)
	ts.body = 50 * time.Millisecond
	ts.listen(t)
	for name, tc := range map[string]struct {
		line, body string
		status     int
	}{
		"good so far":    {"POST /v1/claims", `{`, http.StatusBadRequest},
		"not one byte":   {"POST /v1/claims", ``, http.StatusBadRequest},
		"wrong path":     {"POST /v1/claim", `{`, http.StatusNotFound},
		"missing claim":  {"POST /v1/claims/" + missingID + "/checkpoint", `{`, http.StatusNotFound},
		"none is wanted": {"GET /v1/claims", `{`, http.StatusOK},
	} {
		conn := ts.say(t, tc.line+" HTTP/1.1\r\nHost: sandpool\r\nContent-Length: 60000\r\n\r\n"+tc.body)
		if got := hear(t, conn); got.status != tc.status {
			t.Errorf("%s: %+v, want %d", name, got, tc.status)
		}
		// net/http reads on behind the answer.
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: after the answer the connection goes on: %v", name, err)
		}
	}
}

// TestRefusalInAnAnswer has a handler write what looks like a refusal of net/http's: it goes out as it is.
func TestRefusalInAnAnswer(t *testing.T) {
	ts := newTestAPI(t)
	text := strings.Repeat("HTTP/1.1 417 Expectation Failed\r\n\r\n", 1000)
	ts.api.Ready = func() error { return errors.New(text) }
	ts.listen(t)
	for range 2 { // by one connection
		checkError(t, ts.do(t, "GET", "/readyz", ""), 500, "internal", text)
	}
	conn := ts.say(t, request("GET /healthz", ""))
	hear(t, conn)
	if _, err := io.WriteString(conn, "hello\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	checkError(t, hear(t, conn), 400, "invalid_argument", "Bad Request")
	<-ts.under.close()
	checkError(t, ts.do(t, "GET", "/healthz", ""), 503, "unavailable", "stopping")
}

// TestRefusalsOfNetHTTP sends what net/http answers before any handler: those errors have the shape of all others.
func TestRefusalsOfNetHTTP(t *testing.T) {
	ts := startServer(t)
	for name, tc := range map[string]struct {
		text          string
		status        int
		code, message string
	}{
		"large header":   {"GET /healthz HTTP/1.1\r\nHost: s\r\nX-A: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", 431, "too_large", "16384 bytes"},
		"expectation":    {"GET /healthz HTTP/1.1\r\nHost: s\r\nExpect: foo\r\n\r\n", 417, "invalid_argument", "Expect"},
		"no host":        {"GET /healthz HTTP/1.1\r\n\r\n", 400, "invalid_argument", "missing required Host header"},
		"no HTTP":        {"hello\r\n\r\n", 400, "invalid_argument", "Bad Request"},
		"other version":  {"GET /healthz HTTP/3.1\r\nHost: s\r\n\r\n", 505, "invalid_argument", "unsupported protocol version"},
		"other coding":   {"POST /v1/claims HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "invalid_argument", "Not Implemented"},
		"header of byte": {"GET /healthz HTTP/1.1\r\nHost: s\r\nA\x01: b\r\n\r\n", 400, "invalid_argument", "Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := ts.say(t, tc.text)
			checkError(t, hear(t, conn), tc.status, tc.code, tc.message)
		})
	}
}
