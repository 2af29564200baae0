package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sandpool/daemon/processes"
	"sandpool/daemon/strictjson"
	"sandpool/daemon/wire"
)

// execConn is an exec connection after its upgrade.
type execConn struct {
	*net.UnixConn
	in *bufio.Reader
}

func (ts *testServer) startExec(t *testing.T, body string) *execConn {
	t.Helper()
	return ts.startStream(t, "exec", body)
}

// startStream upgrades a connection to what of the claim that runs.
func (ts *testServer) startStream(t *testing.T, what, body string) *execConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", ts.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "POST /v1/claims/%s/%s HTTP/1.1\r\nHost: sandpool\r\n%s\r\nContent-Length: %d\r\n\r\n%s",
		runningID, what, strings.Join(upgradeLines(), "\r\n"), len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	c := &execConn{UnixConn: conn.(*net.UnixConn), in: bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != wire.ExecProtocol {
		t.Fatalf("answer %s, Upgrade %q", resp.Status, resp.Header.Get("Upgrade"))
	}
	return c
}

func (c *execConn) send(t *testing.T, kind wire.Kind, payload ...byte) {
	t.Helper()
	if err := wire.WriteFrame(c, wire.Frame{Kind: kind, Payload: payload}); err != nil {
		t.Fatal(err)
	}
}

// wantEnd reads on until the stream ends with one frame of the given kind, and returns that frame's payload.
func (c *execConn) wantEnd(t *testing.T, kind wire.Kind) []byte {
	t.Helper()
	for {
		frame, err := wire.ReadFrame(c.in)
		switch {
		case err != nil:
			t.Fatalf("read frame: %v", err)
		case frame.Kind == wire.FrameStdout, frame.Kind == wire.FrameStderr:
			continue
		case frame.Kind != kind:
			t.Fatalf("frame of kind %d, %q; want %d", frame.Kind, frame.Payload, kind)
		}
		if _, err := wire.ReadFrame(c.in); !errors.Is(err, io.EOF) && !isReset(err) {
			t.Errorf("after the last frame: %v", err)
		}
		return frame.Payload
	}
}

// isReset is what a unix socket's end looks like when its other side was closed with input unread.
func isReset(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}

func TestExecStream(t *testing.T) {
	ts := startServer(t)
	c := ts.startExec(t, `{"args": ["cat"], "env": ["A=1"], "cwd": "/tmp", "tty": true, "rows": 24, "cols": 80}`)
	p := <-ts.processes
	if s := p.spec; s.Cwd != "/tmp" || s.Env[0] != "A=1" || !s.TTY || s.Rows != 24 || s.Cols != 80 || !s.Owned {
		t.Errorf("spec is %+v", s)
	}
	if info := getAs(t, ts.api, 0, "GET", "/v1/info", ""); !strings.Contains(info, "by the shim: 1, the last in claim "+runningID+": the init is of an older release") {
		t.Errorf("why process 1 did not start it is not told: %s", info)
	}
	c.send(t, wire.FrameStdin, []byte("hello")...)
	if f, err := wire.ReadFrame(c.in); err != nil || f.Kind != wire.FrameStdout || string(f.Payload) != "hello" {
		t.Fatalf("frame %+v, %v; want the echo", f, err)
	}
	c.send(t, wire.FrameResize, 0, 50, 1, 0)
	if got := <-p.resized; got != [2]uint16{50, 256} {
		t.Errorf("resized to %v", got)
	}
	c.send(t, wire.FrameStdin)
	if f, err := wire.ReadFrame(c.in); err != nil || f.Kind != wire.FrameStderr || string(f.Payload) != "done" {
		t.Fatalf("frame %+v, %v; want the end on stderr", f, err)
	}
	if code := c.wantEnd(t, wire.FrameExit); !bytes.Equal(code, []byte{0, 0, 0, 7}) {
		t.Errorf("exit code %v", code)
	}
}

func TestExecSignal(t *testing.T) {
	ts := startServer(t)
	c := ts.startExec(t, `{"args": ["wait"]}`)
	c.send(t, wire.FrameSignal, 2)
	if code := c.wantEnd(t, wire.FrameExit); code[3] != 130 {
		t.Errorf("exit code %v", code)
	}
}

func TestExecThatCannotStart(t *testing.T) {
	ts := startServer(t)
	c := ts.startExec(t, `{"args": ["missing"]}`)
	wantFrameError(t, c, "not_found", "no such command")
}

// TestExecThatOnlyProcess1CanRun has no process 1 that can: the shim does not take its place.
func TestExecThatOnlyProcess1CanRun(t *testing.T) {
	ts := startServer(t)
	for _, body := range []string{`{"args": ["cat"], "user": "1"}`, `{"args": ["cat"], "timeout": "1s"}`, `{"args": ["cat"], "tty": true, "rlimits": {"core": "0"}}`} {
		checkError(t, ts.do(t, "POST", "/v1/claims/"+runningID+"/exec", body, upgradeLines()...), 409, "conflict", "older release")
	}
}

func wantFrameError(t *testing.T, c *execConn, code, message string) {
	t.Helper()
	var got wire.Error
	if err := json.Unmarshal(c.wantEnd(t, wire.FrameError), &got); err != nil {
		t.Fatal(err)
	}
	if got.Code != code || !strings.Contains(got.Message, message) {
		t.Errorf("error %+v, want %s: %s", got, code, message)
	}
}

func TestExecBadFrames(t *testing.T) {
	ts := startServer(t)
	for name, raw := range map[string][]byte{
		"unknown kind":     {99, 0, 0, 0, 0},
		"daemon's kind":    {byte(wire.FrameStdout), 0, 0, 0, 0},
		"exit":             {byte(wire.FrameExit), 0, 0, 0, 4, 0, 0, 0, 0},
		"over the limit":   {byte(wire.FrameStdin), 0xff, 0xff, 0xff, 0xff},
		"short resize":     {byte(wire.FrameResize), 0, 0, 0, 1, 9},
		"no signal":        {byte(wire.FrameSignal), 0, 0, 0, 1, 0},
		"signal 65":        {byte(wire.FrameSignal), 0, 0, 0, 1, 65},
		"signal of 2 byte": {byte(wire.FrameSignal), 0, 0, 0, 2, 9, 9},
	} {
		t.Run(name, func(t *testing.T) {
			c := ts.startExec(t, `{"args": ["wait"]}`)
			p := <-ts.processes
			if _, err := c.Write(raw); err != nil {
				t.Fatal(err)
			}
			wantFrameError(t, c, "invalid_argument", "frame")
			if cause := <-p.killed; cause == nil {
				t.Error("the process was not killed")
			}
		})
	}
}

// TestExecSizes asks for commands up to what Linux takes, and for larger ones.
func TestExecSizes(t *testing.T) {
	ts := startServer(t)
	many := func(n, size int) []string { return slices.Repeat([]string{strings.Repeat("\n", size)}, n) }
	for name, test := range map[string]struct {
		args, env []string
		status    int
	}{
		"longest argument":  {args: append([]string{"wait"}, many(1, wire.MaxArgument)...), status: http.StatusSwitchingProtocols},
		"longer argument":   {args: append([]string{"wait"}, many(1, wire.MaxArgument+1)...), status: http.StatusRequestEntityTooLarge},
		"longer variable":   {args: []string{"wait"}, env: []string{"A=" + strings.Repeat("x", wire.MaxArgument)}, status: http.StatusRequestEntityTooLarge},
		"most":              {args: append([]string{"wait"}, many(15, wire.MaxArgument)...), env: []string{"A=1"}, status: http.StatusSwitchingProtocols},
		"more":              {args: append([]string{"wait"}, many(16, wire.MaxArgument)...), status: http.StatusRequestEntityTooLarge},
		"empty arguments":   {args: append([]string{"wait"}, many(1000, 0)...), status: http.StatusSwitchingProtocols},
		"too many words":    {args: append([]string{"wait"}, many(strictjson.MaxWords, 0)...), status: http.StatusRequestEntityTooLarge},
		"more than is read": {args: append([]string{"wait"}, many(40, wire.MaxArgument)...), status: http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(wire.ExecRequest{Args: test.args, Env: test.env})
			if err != nil {
				t.Fatal(err)
			}
			if test.status == http.StatusSwitchingProtocols {
				c := ts.startExec(t, string(body))
				if p := <-ts.processes; !slices.Equal(p.spec.Args, test.args) {
					t.Error("other arguments arrived")
				}
				_ = c.Close()
				return
			}
			got := ts.do(t, "POST", "/v1/claims/"+runningID+"/exec", string(body), upgradeLines()...)
			if got.status != test.status || !strings.Contains(got.body, "standard input") {
				t.Errorf("answer %d %s, want %d and a word of standard input", got.status, got.body, test.status)
			}
		})
	}
}

func TestExecClientGone(t *testing.T) {
	ts := startServer(t)
	full := make([]byte, wire.MaxFrame)
	for name, before := range map[string]func(t *testing.T, c *execConn){
		"idle":         func(*testing.T, *execConn) {},
		"half a frame": func(t *testing.T, c *execConn) { _, _ = c.Write([]byte{0, 0, 0}) },
		"input not read": func(t *testing.T, c *execConn) {
			go func() { _, _ = c.Write(append([]byte{0, 0, 4, 0, 0}, full...)) }()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := ts.startExec(t, `{"args": ["wait"]}`)
			p := <-ts.processes
			before(t, c)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if cause := <-p.killed; !errors.Is(cause, processes.ErrClientGone) {
				t.Errorf("killed because of %v", cause)
			}
		})
	}
}

// TestExecFlood has a client that never reads: the process must be held back, and killed when the client goes.
func TestExecFlood(t *testing.T) {
	ts := startServer(t)
	c := ts.startExec(t, `{"args": ["flood"]}`)
	p := <-ts.processes
	select {
	case cause := <-p.killed:
		t.Fatalf("killed because of %v", cause)
	default:
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if cause := <-p.killed; !errors.Is(cause, processes.ErrClientGone) {
		t.Errorf("killed because of %v", cause)
	}
}

// TestStop has a stream and a claim that would go on for ever: both are cut off with the reason.
func TestStop(t *testing.T) {
	ts := startServer(t)
	c := ts.startExec(t, `{"args": ["wait"]}`)
	p := <-ts.processes
	waiting := make(chan struct{})
	ts.claims.onClaim = func(ctx context.Context) error {
		close(waiting)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	var requests sync.WaitGroup
	requests.Go(func() {
		checkError(t, ts.do(t, "POST", "/v1/claims", ""), 503, "unavailable", "the daemon is stopping")
	})
	<-waiting
	ts.grace = streamGrace
	requests.Go(ts.Stop)
	wantFrameError(t, c, "unavailable", "the daemon is stopping")
	if cause := <-p.killed; !errors.Is(cause, errStopping) {
		t.Errorf("killed because of %v", cause)
	}
	requests.Wait()
}

// TestGate shows that a closed gate waits for those inside and refuses others.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if !g.enter() {
			t.Fatal("open gate refused")
		}
		left := g.close()
		if g.enter() {
			t.Error("closed gate let one in")
		}
		time.Sleep(time.Hour)
		select {
		case <-left:
			t.Error("did not wait")
		default:
		}
		g.leave()
		<-left
	})
}
