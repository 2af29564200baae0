package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"sandpool/daemon/wire"
)

// serveExec answers every exec with a 101 and leaves the connection to session.
func serveExec(t *testing.T, session func(conn net.Conn, stream *bufio.Reader, req wire.ExecRequest)) *Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/claims/{id}/exec", func(w http.ResponseWriter, r *http.Request) {
		var req wire.ExecRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		if r.PathValue("id") != "c1" || r.Header.Get("Upgrade") != wire.ExecProtocol || r.Header.Get("Connection") != "Upgrade" {
			t.Errorf("request for %s with %v", r.PathValue("id"), r.Header)
		}
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close() //nolint:errcheck // the client sees the end either way
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+wire.ExecProtocol+"\r\n\r\n")
		session(conn, buf.Reader, req)
		_ = conn.(*net.UnixConn).CloseWrite()
		_, _ = io.Copy(io.Discard, buf) // a close with input unread would reset the connection
	})
	c, server := serve(t, mux)
	server.Start()
	return c
}

func sendFrame(t *testing.T, w io.Writer, kind wire.Kind, payload string) {
	t.Helper()
	if err := wire.WriteFrame(w, wire.Frame{Kind: kind, Payload: []byte(payload)}); err != nil {
		t.Error(err)
	}
}

func TestExecEcho(t *testing.T) {
	want := wire.ExecRequest{Args: []string{"cat"}, Env: []string{"A=1"}, Cwd: "/"}
	c := serveExec(t, func(conn net.Conn, stream *bufio.Reader, req wire.ExecRequest) {
		if !reflect.DeepEqual(req, want) {
			t.Errorf("asked for %+v", req)
		}
		for {
			frame, err := wire.ReadFrame(stream)
			if err != nil || frame.Kind != wire.FrameStdin || len(frame.Payload) > chunk {
				t.Errorf("frame %d of %d bytes, %v", frame.Kind, len(frame.Payload), err)
				return
			}
			if len(frame.Payload) == 0 {
				break
			}
			sendFrame(t, conn, wire.FrameStdout, string(frame.Payload))
		}
		sendFrame(t, conn, wire.FrameStderr, "oops")
		sendFrame(t, conn, wire.FrameExit, "\x00\x00\x00\x2a")
	})
	input := bytes.Repeat([]byte("0123456789"), 30_000)
	var stdout, stderr bytes.Buffer
	exit, err := c.Exec(t.Context(), "c1", want, Stdio{In: bytes.NewReader(input), Out: &stdout, Err: &stderr})
	if err != nil || exit != 42 || !bytes.Equal(stdout.Bytes(), input) || stderr.String() != "oops" {
		t.Errorf("exit %d, %v, %d bytes out, stderr %q", exit, err, stdout.Len(), &stderr)
	}
}

func TestExecControl(t *testing.T) {
	c := serveExec(t, func(conn net.Conn, stream *bufio.Reader, req wire.ExecRequest) {
		want := []wire.Frame{{Kind: wire.FrameResize, Payload: []byte{0, 24, 1, 0}}, {Kind: wire.FrameSignal, Payload: []byte{15}}}
		for i := 0; i < len(want); {
			frame, err := wire.ReadFrame(stream)
			if err != nil {
				t.Error(err)
				return
			}
			if frame.Kind == wire.FrameStdin {
				continue
			}
			if !reflect.DeepEqual(frame, want[i]) {
				t.Errorf("frame %v, want %v", frame, want[i])
			}
			i++
		}
		sendFrame(t, conn, wire.FrameExit, "\x00\x00\x00\x00")
	})
	control := make(chan wire.Frame, 2)
	control <- Resize(24, 256)
	control <- Signal(syscall.SIGTERM)
	close(control)
	if exit, err := c.Exec(t.Context(), "c1", wire.ExecRequest{}, Stdio{Control: control}); exit != 0 || err != nil {
		t.Errorf("exit %d, %v", exit, err)
	}
}

// The input is never read and never ends: the command's own end must be enough.
func TestExecEndsWithInputLeft(t *testing.T) {
	c := serveExec(t, func(conn net.Conn, _ *bufio.Reader, _ wire.ExecRequest) {
		sendFrame(t, conn, wire.FrameExit, "\x00\x00\x00\x03")
	})
	open, hold := io.Pipe()
	defer hold.Close() //nolint:errcheck // never fails
	for name, in := range map[string]io.Reader{"silent": open, "endless": endless{}} {
		if exit, err := c.Exec(t.Context(), "c1", wire.ExecRequest{}, Stdio{In: in}); exit != 3 || err != nil {
			t.Errorf("%s: exit %d, %v", name, exit, err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestExecErrors(t *testing.T) {
	tests := map[string]struct{ stream, want string }{
		"error frame":     {"\x06\x00\x00\x00\x01{", `read error "{": unexpected end`},
		"hang-up":         {"", "sandpoold hung up before the command ended"},
		"half a frame":    {"\x01\x00", "read output: unexpected EOF"},
		"unknown kind":    {"\x63\x00\x00\x00\x00", "read output: frame of unknown kind 99"},
		"a client's kind": {"\x00\x00\x00\x00\x00", "read output: frame of kind 0 is not for clients"},
		"short exit code": {"\x05\x00\x00\x00\x01x", "read exit code: 1 bytes, want 4"},
		"closed output":   {"\x01\x00\x00\x00\x01x", "write output: io: read/write on closed pipe"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := serveExec(t, func(conn net.Conn, _ *bufio.Reader, _ wire.ExecRequest) {
				_, _ = io.WriteString(conn, test.stream)
			})
			closed, out := io.Pipe()
			_ = closed.Close()
			if _, err := c.Exec(t.Context(), "c1", wire.ExecRequest{}, Stdio{Out: out}); err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestExecAnswers(t *testing.T) {
	want := wire.Error{Status: 404, Code: "not_found", Message: "no claim"}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	framed := serveExec(t, func(conn net.Conn, _ *bufio.Reader, _ wire.ExecRequest) {
		sendFrame(t, conn, wire.FrameError, string(text))
	})
	refused, server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(t, w, 404, want) }))
	server.Start()
	for name, c := range map[string]*Client{"frame": framed, "refusal": refused} {
		_, err := c.Exec(t.Context(), "c1", wire.ExecRequest{}, Stdio{})
		if got, ok := errors.AsType[*wire.Error](err); !ok || *got != want {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestContextEndsExec(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	gone := make(chan struct{})
	c := serveExec(t, func(_ net.Conn, stream *bufio.Reader, _ wire.ExecRequest) {
		cancel(reason)
		for {
			if _, err := wire.ReadFrame(stream); err != nil {
				close(gone)
				return
			}
		}
	})
	if _, err := c.Exec(ctx, "c1", wire.ExecRequest{}, Stdio{In: endless{}}); !errors.Is(err, reason) {
		t.Error(err)
	}
	<-gone // the daemon sees the end as well
}

func TestExecRefusesWhatIsNoUTF8(t *testing.T) {
	c := serveExec(t, func(net.Conn, *bufio.Reader, wire.ExecRequest) { t.Error("the command was asked for") })
	for name, req := range map[string]wire.ExecRequest{
		"argument": {Args: []string{"touch", "caf\xe9"}},
		"variable": {Args: []string{"true"}, Env: []string{"X=\xff"}},
		"folder":   {Args: []string{"true"}, Cwd: "/tmp/d\xe9"},
	} {
		if _, err := c.Exec(t.Context(), "c1", req, Stdio{}); err == nil || !strings.Contains(err.Error(), "no UTF-8") {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

// TestContextEndsExecWhoseOutputIsStuck has an output that nobody reads.
func TestContextEndsExecWhoseOutputIsStuck(t *testing.T) {
	stuck, out := io.Pipe()
	defer stuck.Close() //nolint:errcheck // never fails
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	c := serveExec(t, func(conn net.Conn, _ *bufio.Reader, _ wire.ExecRequest) {
		sendFrame(t, conn, wire.FrameStdout, "x")
		cancel(reason)
	})
	if _, err := c.Exec(ctx, "c1", wire.ExecRequest{}, Stdio{Out: out}); !errors.Is(err, reason) {
		t.Errorf("%v, want the cause", err)
	}
}

// FuzzExecOutput has a daemon that answers with any bytes: the call ends with them, and keeps no more of them than a frame.
func FuzzExecOutput(f *testing.F) {
	for _, seed := range []string{"", "\x05\x00\x00\x00\x04\x00\x00\x00\x01", "\x01\x00\x00\x00\x02hi\x06\x00\x00\x00\x02{}", "\x06\x00\x00\x00\x01{", "\x02\x00\x04\x00\x00x", "\x01\xff\xff\xff\xff", "\x00\x00\x00\x00\x00", "\x63"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		var out bytes.Buffer
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := receive(bytes.NewReader(sent), Stdio{Out: &out, Err: &out})
		runtime.ReadMemStats(&after)
		if err == nil && !bytes.Contains(sent, []byte("\x05\x00\x00\x00\x04")) {
			t.Errorf("%x is an end without an exit code", sent)
		}
		if out.Len() > len(sent) {
			t.Errorf("%d bytes of output in %d", out.Len(), len(sent))
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(8*len(sent)+2<<20) {
			t.Errorf("%d bytes cost %d", len(sent), grown)
		}
	})
}
