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
	"sync"
	"syscall"
	"testing"
)

// TestStopAnswersWhatItTook sends one request before a stop and one during it, by a connection from before: both are answered.
func TestStopAnswersWhatItTook(t *testing.T) {
	ts := startServer(t)
	taken, end := make(chan struct{}), make(chan struct{})
	finish := sync.OnceFunc(func() { close(end) })
	defer finish()
	ts.claims.onClaim = func(context.Context) error {
		close(taken)
		<-end
		return nil
	}
	var running sync.WaitGroup
	running.Go(func() {
		if got := ts.do(t, "POST", "/v1/claims", ""); got.status != http.StatusCreated {
			t.Errorf("a claim that was under way got %d", got.status)
		}
	})
	<-taken
	conn, err := net.Dial("unix", ts.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	// It was taken once one that came later was answered.
	ts.do(t, "GET", "/healthz", "")
	running.Go(ts.Stop)
	for { // until the server takes no more
		late, err := net.Dial("unix", ts.socket)
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = late.Close()
	}
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: sandpoold\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a request during the stop got %s", resp.Status)
	}
	_ = resp.Body.Close()
	finish()
	running.Wait()
}

// TestTwoLengths sends a request with a length and chunks: what is behind its chunks may be its body to whoever passed it on, and is no request.
func TestTwoLengths(t *testing.T) {
	ts := startServer(t)
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: ts.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	inner := "GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n"
	if _, err := fmt.Fprintf(conn, "POST /v1/claims HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n%s", 12+len(inner), inner); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil { // so that the daemon hangs up behind its last answer
		t.Fatal(err)
	}
	answers, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if n := strings.Count(string(answers), "HTTP/1.1 "); n != 1 || !strings.HasPrefix(string(answers), "HTTP/1.1 201") {
		t.Errorf("%d answers, want the first alone:\n%s", n, answers)
	}
}
