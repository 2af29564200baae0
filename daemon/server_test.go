package daemon

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
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
	running.Go(ts.stop)
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
