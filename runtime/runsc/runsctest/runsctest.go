// Package runsctest stands in for a sandbox's sentry in tests.
package runsctest

import (
	"encoding/json"
	"io"
	"net"
	"testing"
)

// An Answer answers a request, by its method.
type Answer func(conn *net.UnixConn, method string)

// Sentry listens on a unix socket and answers the requests of one connection after the other, until the test ends.
func Sentry(t *testing.T, socket string, answers ...Answer) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, answer := range answers {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return
			}
			var call struct{ Method string }
			if err := json.NewDecoder(conn).Decode(&call); err != nil {
				t.Errorf("request: %v", err)
			}
			answer(conn, call.Method)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
}

// Says answers with a text.
func Says(text string) Answer {
	return func(conn *net.UnixConn, _ string) { _, _ = io.WriteString(conn, text) }
}
