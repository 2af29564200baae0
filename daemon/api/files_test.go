package api

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"sandpool/daemon/processes"
	"sandpool/runtime"
)

// filesExec stands for inits: that of write takes pieces until they end, says what it took and fails if it is told to.
func filesExec(taken chan<- string) func(context.Context, string, runtime.ExecSpec) (processes.Process, error) {
	return func(_ context.Context, _ string, spec runtime.ExecSpec) (processes.Process, error) {
		return &initOf{spec, taken}, nil
	}
}

type initOf struct {
	spec  runtime.ExecSpec
	taken chan<- string
}

func (*initOf) Signal(context.Context, syscall.Signal) error { return nil }

func (*initOf) Resize(context.Context, uint16, uint16) error { return nil }

func (p *initOf) Wait(context.Context) (int, error) {
	asked := strings.Join(p.spec.Args[1:], " ")
	line := "f 644 0 0 3 1.5 1:2 \"/x\" \"\"\n"
	switch {
	case strings.Contains(asked, "missing"):
		_, _ = io.WriteString(p.spec.Stderr, "ENOENT it is not there\n")
		return 1, nil
	case !strings.HasPrefix(asked, "file write"):
		_, _ = io.WriteString(p.spec.Stdout, line)
		return 0, nil
	}
	_, _ = io.WriteString(p.spec.Stdout, "+\n")
	all := ""
	for {
		var size uint32
		if binary.Read(p.spec.Stdin, binary.BigEndian, &size) != nil {
			p.taken <- "cut off " + all
			_, _ = io.WriteString(p.spec.Stderr, "ECONNRESET cut off\n")
			return 1, nil
		}
		if size == 0 {
			p.taken <- all
			_, _ = io.WriteString(p.spec.Stdout, line)
			return 0, nil
		}
		piece := make([]byte, size)
		_, _ = io.ReadFull(p.spec.Stdin, piece)
		if all += string(piece); strings.HasPrefix(all, "full") {
			p.taken <- "full"
			_, _ = io.WriteString(p.spec.Stderr, "ENOSPC no room\n")
			return 1, nil
		}
	}
}

// TestFileRequests answers requests about files, and refuses those that cannot be.
func TestFileRequests(t *testing.T) {
	ts := newTestAPI(t)
	taken := make(chan string, 8)
	ts.api.Exec = filesExec(taken)
	ts.listen(t)
	for request, want := range map[string]string{
		"GET " + runningID + "/files/stat?path=/x":                                 `200 "etag"`,
		"GET " + runningID + "/files/stat?path=/missing":                           "404 file_not_found",
		"GET " + runningID + "/files/stat":                                         "400 path is missing",
		"GET " + runningID + "/files/stat?path=/x&what=1":                          "400 unknown parameter",
		"PUT " + runningID + "/files/stat?path=/x":                                 "405 method_not_allowed",
		"POST " + runningID + "/files/mkdir?path=/x&mode=9":                        "400 in octal",
		"GET " + missingID + "/files/stat?path=/x":                                 "404 not_found",
		"GET " + deadID + "/files?path=/x":                                         "409 conflict",
		"PUT " + runningID + "/files?path=/missing":                                "404 file_not_found",
		"PUT " + runningID + "/files?path=/x":                                      `200 "etag"`,
		"PUT " + runningID + "/files?path=/x&append=1&in_place=1":                  "400 want one of them",
		"GET " + runningID + "/files/list?path=/x":                                 `200 "path":"/x"`,
		"GET " + runningID + "/files/stat?path=" + strings.Repeat("n", 4096):       "400 at most 4095",
		"GET " + runningID + "/files/stat?path=" + strings.Repeat("%C3%BC", 1<<12): "431 too_large",
	} {
		method, path, _ := strings.Cut(request, " ")
		answer := ts.do(t, method, "/v1/claims/"+path, "abc")
		if got := fmt.Sprint(answer.status, " ", answer.body); !strings.HasPrefix(got, want[:3]) || !strings.Contains(got, want[4:]) {
			t.Errorf("%.100s: %s, want %s", request, got, want)
		}
	}
	if got := <-taken; got != "abc" {
		t.Errorf("taken was %q", got)
	}
}

// put sends the head of a request with a long body, and what it is given of that.
func (ts *testServer) put(t *testing.T, body string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", ts.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "PUT /v1/claims/%s/files?path=/x HTTP/1.1\r\nHost: s\r\nContent-Length: 1000000000\r\n\r\n%s", runningID, body); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// TestFileBodies has bodies that do not come to their end: nothing of them is taken for whole, and who still sends sees the answer.
func TestFileBodies(t *testing.T) {
	taken := make(chan string, 8)
	serve := func(t *testing.T, pace time.Duration) *testServer {
		ts := newTestAPI(t)
		ts.api.Exec, ts.api.pace = filesExec(taken), pace
		ts.listen(t)
		return ts
	}
	t.Run("a client that is gone", func(t *testing.T) {
		conn, _ := serve(t, bodyTimeout).put(t, "half")
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if got := <-taken; got != "cut off half" {
			t.Errorf("taken was %q", got)
		}
	})
	t.Run("one that sends a byte now and then", func(t *testing.T) {
		conn, in := serve(t, 200*time.Millisecond).put(t, "s")
		go func() {
			for {
				if _, err := conn.Write([]byte("s")); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		wantAnswer(t, in, http.StatusBadRequest, "fewer than 1024 bytes")
		if got := <-taken; !strings.HasPrefix(got, "cut off s") {
			t.Errorf("taken was %q", got)
		}
	})
	t.Run("one that goes on when there is no room", func(t *testing.T) {
		conn, in := serve(t, bodyTimeout).put(t, "full")
		go func() {
			for {
				if _, err := conn.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}()
		wantAnswer(t, in, http.StatusInsufficientStorage, "disk_full")
		<-taken
	})
}

func wantAnswer(t *testing.T, in *bufio.Reader, status int, text string) {
	t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || !strings.Contains(string(body), text) {
		t.Errorf("%s %s, %v; want %d and %q", resp.Status, body, err, status, text)
	}
}

// TestStopCutsFiles has a stop give a client that sends a long file no more time than the client of an exec: the copy goes on with the next daemon.
func TestStopCutsFiles(t *testing.T) {
	for path, want := range map[string]bool{"/files": true, "/tar": true, "/files/watch": true, "/exec": true, "/files/stat": false, "/files/list": false, "/extend": false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://s/v1/claims/"+runningID+path, nil)
		if err != nil || isStream(r) != want {
			t.Errorf("%s: %v, %v", path, isStream(r), err)
		}
	}
	ts := newTestAPI(t)
	taken := make(chan string, 1)
	ts.api.Exec = filesExec(taken)
	ts.listen(t)
	_, in := ts.put(t, "half")
	ts.hurry(errStopping)
	wantAnswer(t, in, http.StatusServiceUnavailable, "the daemon is stopping")
	if got := <-taken; !strings.HasPrefix(got, "cut off") {
		t.Errorf("taken was %q", got)
	}
}
