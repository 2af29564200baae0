package daemontest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// Users who are neither root nor the daemon's own.
const (
	flooder = 4242
	idler   = 4243
)

// TestFloodOfOneUser has a user take more connections than it may have, and another begin bodies that never come: root is served
// meanwhile, every connection is answered, and the stop waits for none of them longer than for its deadline.
func TestFloodOfOneUser(t *testing.T) {
	cfg := testConfig(t, 0, 1)
	cfg.Daemon.SocketMode = "0666"
	cfg.Limits.FollowersPerUser = cfg.Limits.ConnectionsPerUser
	r := start(t, cfg)
	if err := errors.Join(os.Chmod(host.Dir, 0o755), os.Chmod(filepath.Dir(cfg.Daemon.Socket), 0o755)); err != nil { // so that the users get in
		t.Fatal(err)
	}
	const over = 200
	const hold = "GET /v1/events?follow=true HTTP/1.1\r\nHost: s\r\n\r\n" // takes its connection until the stop
	held := cfg.Limits.ConnectionsPerUser
	var flood []net.Conn
	for range held {
		flood = append(flood, sayAs(t, flooder, cfg.Daemon.Socket, hold))
	}
	for range over {
		flood = append(flood, sayAs(t, flooder, cfg.Daemon.Socket, ""))
	}
	var slow []net.Conn
	for range 20 {
		slow = append(slow, sayAs(t, idler, cfg.Daemon.Socket, "POST /v1/claims HTTP/1.1\r\nHost: s\r\nContent-Length: 60000\r\n\r\n{"))
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Errorf("root during the flood: %v", err)
	}
	for i, conn := range flood[held:] {
		if got := hear(t, conn); got.Status != http.StatusTooManyRequests || got.Code != "too_many" {
			t.Fatalf("connection %d of %d: %+v", held+i, len(flood), got)
		}
	}
	r.finish(t)
	for _, conn := range slow {
		if got := hear(t, conn); got.Status != http.StatusBadRequest {
			t.Errorf("a body that did not come: %+v", got)
		}
	}
}

// sayAs connects as another user, and sends text.
func sayAs(t *testing.T, uid int, socket, text string) net.Conn {
	t.Helper()
	conn, err := dialAs(uid, socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if text != "" { // nothing cannot be written to a connection that was refused meanwhile
		_, err = io.WriteString(conn, text)
	}
	if err = errors.Join(err, conn.SetDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	return conn
}

// hear reads an answer, which is to be an error.
func hear(t *testing.T, conn net.Conn) (got wire.Error) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return got
}
