package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/processes"
)

// Users who do not operate. The fake claim othersID is the first one's.
const (
	alice = 4242
	bob   = 4243
)

// hold is a request that takes a connection until the test's end.
var hold = request("POST /v1/claims", "")

// startCrowded is a server for all users, with bounds of its own, on which claims wait until the test's end.
func startCrowded(t *testing.T, limits func(*configs.Limits)) *testServer {
	t.Helper()
	ts := newTestAPI(t)
	limits(&ts.api.Config().Limits)
	ended := make(chan struct{})
	ts.claims.onClaim = func(ctx context.Context) error {
		select {
		case <-ended:
		case <-ctx.Done():
		}
		return context.Canceled
	}
	ts.listen(t)
	if err := errors.Join(os.Chmod(filepath.Dir(ts.socket), 0o755), os.Chmod(ts.socket, 0o666)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(ended) }) // before the server stops
	return ts
}

// sayAs is say as another user.
func (ts *testServer) sayAs(t *testing.T, uid uintptr, text string) *net.UnixConn {
	t.Helper()
	conn, err := dialAs(t.Context(), uid, ts.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil { // so that a test without an answer ends
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn)
}

func (ts *testServer) refusedSoFar(t *testing.T, kind string) float64 {
	t.Helper()
	return ts.counted(t, `sandbox_refused_total{kind="`+kind+`"}`)
}

// TestConnectionsAreBounded has users hold connections: others have room, and root always.
func TestConnectionsAreBounded(t *testing.T) {
	ts := startCrowded(t, func(l *configs.Limits) { l.ConnectionsPerUser, l.Connections = 3, 5 })
	healthz := request("GET /healthz", "")
	var held []*net.UnixConn
	for range 3 {
		held = append(held, ts.sayAs(t, alice, hold))
	}
	over := ts.sayAs(t, alice, healthz)
	got := hear(t, over)
	checkError(t, got, http.StatusTooManyRequests, "too_many", "user 4242 has 3 connections")
	if _, err := over.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection stays open after %+v (%v)", got, err)
	}
	// What does not say anything is answered too, without more of it than turnAways being waited for.
	var silent []*net.UnixConn
	for range 3 * turnAways {
		silent = append(silent, ts.sayAs(t, alice, ""))
	}
	for _, conn := range silent {
		checkError(t, hear(t, conn), http.StatusTooManyRequests, "too_many", "limits.connections_per_user")
	}
	for range 2 {
		if got := hear(t, ts.sayAs(t, bob, healthz)); got.status != http.StatusOK {
			t.Errorf("another user got %+v", got)
		}
	}
	held = append(held, ts.sayAs(t, bob, hold), ts.sayAs(t, bob, hold)) // in place of the idle ones
	checkError(t, hear(t, ts.sayAs(t, bob, healthz)), http.StatusServiceUnavailable, "unavailable", "limits.connections")
	if got := ts.do(t, "GET", "/healthz", ""); got.status != http.StatusOK {
		t.Errorf("root got %+v", got)
	}
	if n := ts.refusedSoFar(t, refusedConnection); n != 2+3*turnAways {
		t.Errorf("%v connections count as refused", n)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	awaitAnswer(t, func() int { return hear(t, ts.sayAs(t, alice, healthz)).status })
}

// awaitAnswer asks until the server has seen that connections were closed.
func awaitAnswer(t *testing.T, ask func() int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ask() != http.StatusOK; {
		if time.Now().After(end) {
			t.Fatal("there is no room a minute after connections were closed")
		}
	}
}

// TestRefusedBody sends a body behind a request that is refused: it does not keep the answer from its client.
func TestRefusedBody(t *testing.T) {
	ts := startCrowded(t, func(l *configs.Limits) { l.ConnectionsPerUser = 1 })
	ts.sayAs(t, alice, hold)
	ts.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialAs(ctx, alice, ts.socket)
	}}
	checkError(t, ts.do(t, "POST", "/v1/claims", strings.Repeat(" ", 512<<10)), http.StatusTooManyRequests, "too_many", "connections")
}

// TestIdleConnectionsMakeRoom keeps connections alive: the longest idle one goes for the next.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	ts := startCrowded(t, func(l *configs.Limits) { l.ConnectionsPerUser = 2 })
	var conns []*net.UnixConn
	for range 3 {
		conn := ts.sayAs(t, alice, request("GET /healthz", ""))
		if got := hear(t, conn); got.status != http.StatusOK {
			t.Fatalf("%+v", got)
		}
		conns = append(conns, conn)
		awaitIdle(t, ts, min(len(conns), 2))
	}
	if _, err := conns[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection that was idle for the longest: %v", err)
	}
	for _, conn := range conns[1:] {
		if _, err := io.WriteString(conn, request("GET /healthz", "")); err != nil {
			t.Fatal(err)
		}
		if got := hear(t, conn); got.status != http.StatusOK {
			t.Errorf("%+v", got)
		}
	}
}

// awaitIdle waits until the server has so many idle connections: an answer arrives before its connection is one.
func awaitIdle(t *testing.T, ts *testServer, want int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		ts.room.mu.Lock()
		idle := len(ts.room.idle)
		ts.room.mu.Unlock()
		if idle == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections are idle, want %d", idle, want)
		}
	}
}

// TestStreamsAreBounded has one user follow the events, run a command and wait for a claim: one of each, while others go on.
func TestStreamsAreBounded(t *testing.T) {
	ts := newTestAPI(t)
	_, a, _ := newFeed(t, 10)
	ts.api.Events, ts.api.Stopping = a.Events, a.Stopping
	cfg := ts.api.Config()
	cfg.Limits.ExecsPerUser, cfg.Limits.FollowersPerUser, cfg.Limits.WaitingPerUser = 1, 1, 1
	waits, granted := make(chan struct{}, 8), make(chan struct{})
	grant := sync.OnceFunc(func() { close(granted) })
	defer grant()
	ts.claims.onClaim = func(context.Context) error {
		waits <- struct{}{}
		<-granted
		return nil
	}
	ts.listen(t)
	if err := errors.Join(os.Chmod(filepath.Dir(ts.socket), 0o755), os.Chmod(ts.socket, 0o666)); err != nil {
		t.Fatal(err)
	}
	follow, claim := request("GET /v1/events?follow=true", ""), request("POST /v1/claims", "")
	exec := "POST /v1/claims/" + othersID + "/exec HTTP/1.1\r\nHost: s\r\n" + strings.Join(upgradeLines(), "\r\n") + "\r\nContent-Length: 17\r\n\r\n" + `{"args": ["cat"]}`

	following, running, waiting := ts.sayAs(t, alice, follow), ts.sayAs(t, alice, exec), ts.sayAs(t, alice, claim)
	for conn, status := range map[*net.UnixConn]int{following: http.StatusOK, running: http.StatusSwitchingProtocols} {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil) //nolint:bodyclose // it has no end but the connection's
		if err != nil || resp.StatusCode != status {
			t.Fatalf("%+v (%v), want %d", resp, err, status)
		}
	}
	<-waits
	for kind, text := range map[string]string{refusedFollower: follow, refusedExec: exec, refusedClaim: claim} {
		checkError(t, hear(t, ts.sayAs(t, alice, text)), http.StatusTooManyRequests, "too_many", "user 4242 has 1 ")
		if n := ts.refusedSoFar(t, kind); n != 1 {
			t.Errorf("%v of kind %s count as refused", n, kind)
		}
	}
	port := "POST /v1/claims/" + othersID + "/ports/80 HTTP/1.1\r\nHost: s\r\n" + strings.Join(upgradeLines(), "\r\n") + "\r\n\r\n"
	for _, text := range []string{request("GET /v1/claims/"+othersID+"/network/log?follow=true", ""), port} { // which count as those do
		checkError(t, hear(t, ts.sayAs(t, alice, text)), http.StatusTooManyRequests, "too_many", "user 4242 has 1 ")
	}
	if got := hear(t, ts.sayAs(t, alice, request("GET /v1/events", ""))); got.status != http.StatusOK {
		t.Errorf("events that are not followed: %+v", got)
	}
	others := []*net.UnixConn{ts.sayAs(t, bob, claim), ts.say(t, claim)}
	grant()
	for _, conn := range append(others, waiting) {
		if got := hear(t, conn); got.status != http.StatusCreated {
			t.Errorf("a claim got %+v", got)
		}
	}
	if got := hear(t, ts.sayAs(t, alice, claim)); got.status != http.StatusCreated {
		t.Errorf("a claim after the other was answered got %+v", got)
	}
	if err := running.CloseWrite(); err != nil { // an exec whose client has hung up
		t.Fatal(err)
	}
	awaitAnswer(t, func() int {
		status := hearStatus(t, ts.sayAs(t, alice, exec))
		if status == http.StatusSwitchingProtocols {
			return http.StatusOK
		}
		return status
	})
}

// hearStatus reads an answer's status and no more.
func hearStatus(t *testing.T, conn *net.UnixConn) int {
	t.Helper()
	defer func() { _ = conn.Close() }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil) //nolint:bodyclose // the connection is closed
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// TestAnswersThatNobodyReads sends many requests and reads no answer: the connection is given up.
func TestAnswersThatNobodyReads(t *testing.T) {
	ts := newTestAPI(t)
	ts.write = 50 * time.Millisecond
	ts.listen(t)
	for _, path := range []string{"GET /metrics", "GET /v1/claims", "DELETE /v1/claims/" + missingID} {
		conn := ts.say(t, "")
		var sending sync.WaitGroup
		sending.Go(func() {
			text := strings.Repeat(request(path, ""), 100)
			for {
				if _, err := io.WriteString(conn, text); err != nil {
					return
				}
			}
		})
		for end := time.Now().Add(time.Minute); !processes.HungUp(conn); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s: a minute after its client stopped reading the connection is open", path)
				break
			}
		}
		_ = conn.Close()
		sending.Wait()
	}
}

// failingListener has no files left for its first connections.
type failingListener struct {
	net.Listener

	fails int
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// TestAcceptOutlivesALackOfFiles has the first connections fail for lack of files: the server goes on.
func TestAcceptOutlivesALackOfFiles(t *testing.T) {
	ts := newTestAPI(t)
	ts.listenBy(t, func(ln net.Listener) net.Listener { return &failingListener{ln, 3} })
	if got := ts.do(t, "GET", "/healthz", ""); got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}

func TestFewFilesAreNotOneUsersAlone(t *testing.T) {
	l := configs.Limits{Connections: 1000, ConnectionsPerUser: 60}
	for room, want := range map[int][2]int{5000: {60, 1000}, 1000: {60, 1000}, 999: {60, 999}, 120: {60, 120}, 119: {59, 119}, 21: {10, 21}, 1: {1, 1}} {
		if each, all := connectionsIn(l, room); [2]int{each, all} != want {
			t.Errorf("room for %d: %d each, %d in all, want %v", room, each, all, want)
		}
	}
}

// TestRoomForConnections compares the room with the files that this process may open.
func TestRoomForConnections(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if room := roomForConnections(); room < 1 || uint64(room)*2*filesPerConnection > files.Cur {
		t.Errorf("room for %d connections of users, and as many of operators, with %d files", room, files.Cur)
	}
}
