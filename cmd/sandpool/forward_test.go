package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sandpool/daemon/wire"
)

// serveHTTP is a sandbox with a server on port 8000.
func (f *fakeDaemon) serveHTTP(conn net.Conn, stream io.Reader, req wire.ExecRequest) {
	if got := strings.Join(req.Args, " "); got != "port 8000" {
		f.frame(conn, wire.FrameStderr, []byte(got+": connection refused\n")...)
		f.frame(conn, wire.FrameExit, 0, 0, 0, 1)
		return
	}
	input, feed := io.Pipe()
	fed := make(chan struct{})
	defer func() { <-fed }()
	defer conn.Close() //nolint:errcheck // the client sees the end either way
	go func() {
		defer close(fed)
		for {
			frame, err := wire.ReadFrame(stream)
			if err != nil || len(frame.Payload) == 0 {
				_ = feed.Close()
				return
			}
			_, _ = feed.Write(frame.Payload)
		}
	}()
	defer input.Close() //nolint:errcheck // never an error
	asked, err := http.ReadRequest(bufio.NewReader(input))
	if err != nil {
		f.t.Error(err)
		return
	}
	status := "200 OK"
	if asked.URL.Path != "/health" {
		status = "404 Not Found"
	}
	f.frame(conn, wire.FrameStdout, []byte("HTTP/1.1 "+status+"\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")...)
	_ = wire.WriteFrame(conn, wire.Frame{Kind: wire.FrameExit, Payload: make([]byte, 4)}) // a client with its answer may have left
}

func TestForward(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	f.exec = f.serveHTTP
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, said := io.Pipe()
	var errOut strings.Builder
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--socket", f.socket, "forward", id, "0:8000", "0:9000"}, strings.NewReader(""), said, &errOut)
	}()
	lines := bufio.NewScanner(out)
	var served []string
	for range 2 {
		if !lines.Scan() {
			t.Fatal(errOut.String())
		}
		address, what, _ := strings.Cut(lines.Text(), " ")
		served = append(served, address)
		if !strings.HasPrefix(what, "is port ") || !strings.HasSuffix(what, "000 of "+id) {
			t.Errorf("printed %q", lines.Text())
		}
	}
	for range 2 {
		if status, body := get(t, "http://"+served[0]+"/health"); status != http.StatusOK || body != "ok" {
			t.Errorf("answer %d %q", status, body)
		}
	}
	if status, _ := get(t, "http://"+served[1]+"/"); status != 0 {
		t.Errorf("a port where nobody listens answers %d", status)
	}
	interrupt()
	if got := <-code; got != 0 || !strings.Contains(errOut.String(), "forward to port 9000 of "+id) || !strings.Contains(errOut.String(), "connection refused") {
		t.Errorf("exit %d, %q; want 0 and that port 9000 refused", got, errOut.String())
	}
	if _, err := new(net.Dialer).DialContext(t.Context(), "tcp", served[0]); err == nil {
		t.Error("it listens on after its end")
	}
}

// get returns the status and the body of an answer, or 0 if there was none.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(body)
}

func TestForwardEndsWithItsClaim(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	out, said := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"--socket", f.socket, "forward", id, "0:8000"}, strings.NewReader(""), said, io.Discard)
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("it did not begin")
	}
	address, _, _ := strings.Cut(lines.Text(), " ")
	if c, _, errOut := f.sandpool("release", id); c != 0 {
		t.Fatal(errOut)
	}
	_, _ = get(t, "http://"+address+"/")
	if got := <-code; got != exitNotFound {
		t.Errorf("exit %d, want %d", got, exitNotFound)
	}
}

func TestForwardRefusals(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	for _, spec := range []string{"0", "x", "70000", "1:2:3", "x:80", "80:", ""} {
		if code, out, errOut := f.sandpool("forward", id, spec); code == 0 || out != "" || !strings.Contains(errOut, "want [LOCAL:]PORT") {
			t.Errorf("%q: exit %d, %q, %q", spec, code, out, errOut)
		}
	}
	if code, _, _ := f.sandpool("forward", "c-nobody", "80"); code != exitNotFound {
		t.Errorf("exit %d for a claim that there is not, want %d", code, exitNotFound)
	}
}

func TestBenchOfAFirstRequest(t *testing.T) {
	f := newFake(t)
	f.exec = f.serveHTTP
	code, out, errOut := f.sandpool("bench", "--warm", "2", "--cold", "2", "--get", "8000/health")
	if code != 0 || !strings.Contains(fields(out), "warm + request 2 ") || !strings.Contains(out, "% of cold + request p50") {
		t.Errorf("exit %d, %s, %s", code, out, errOut)
	}
	for get, want := range map[string]string{"8000/else": "404", "9000/": "connection refused", "/health": "want PORT/PATH", "0/": "want PORT/PATH"} {
		if code, _, errOut := f.sandpool("bench", "--warm", "1", "--cold", "0", "--get", get); code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("--get %s: exit %d, %q; want %q", get, code, errOut, want)
		}
	}
}
