package networktest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/scripts/outside"
)

const doorTemplate = `
[network]
resolvers = ["` + outside.Resolver + `"]

[templates.default]
image = "file://%s"
prewarm = ["wget -q -O /prewarmed http://www.example.com/prewarm"]

[templates.default.network]
mode = "door"
allow = ["www.example.com", "echo.example.com:7", "*.other.example"]

[pools.default]
target = 1
max = 8
`

// claim returns the id of a claim that the test's end releases.
func (d *daemon) claim(t *testing.T, req wire.ClaimRequest) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	wait := lifetime.Duration(patience)
	req.Wait = &wait
	claim, err := d.Claim(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return claim.ID
}

// run runs a command line in a sandbox and returns all that it says.
func (d *daemon) run(t *testing.T, id, line string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	code, err := d.Exec(ctx, id, wire.ExecRequest{Args: []string{"sh", "-c", line}}, client.Stdio{Out: &out, Err: &out})
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	return strings.TrimSpace(out.String()), code
}

// wants runs a command line that has to say something.
func (d *daemon) wants(t *testing.T, id, line, want string) {
	t.Helper()
	if said, code := d.run(t, id, line); !strings.Contains(said, want) {
		t.Errorf("%s: %s says %q, %d; want %q", id, line, said, code, want)
	}
}

// line is a connection of a program in a sandbox to the server that echoes.
type line struct {
	t     *testing.T
	say   *io.PipeWriter
	heard *bufio.Scanner
	ended chan error
}

func (d *daemon) echo(t *testing.T, id string) *line {
	t.Helper()
	in, say := io.Pipe()
	heard, out := io.Pipe()
	l := &line{t, say, bufio.NewScanner(heard), make(chan error, 1)}
	go func() {
		_, err := d.Exec(t.Context(), id, wire.ExecRequest{Args: []string{"nc", outside.Echo, fmt.Sprint(outside.EchoPort)}}, client.Stdio{In: in, Out: out, Err: io.Discard})
		l.ended <- err
		_ = out.Close()
	}()
	t.Cleanup(func() { _ = say.Close() })
	return l
}

// talks says something and wants to hear it.
func (l *line) talks(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l.say, text+"\n"); err != nil {
		l.t.Error(err)
	}
	if !l.heard.Scan() || l.heard.Text() != text {
		l.t.Errorf("%q was answered by %q, %v", text, l.heard.Text(), l.heard.Err())
	}
}

const fetch = "wget -q -O - http://www.example.com/"

// TestDoor leads one sandbox with a door through all that may become of it.
func TestDoor(t *testing.T) {
	d := start(t, fmt.Sprintf(doorTemplate, host.Image))
	id := d.claim(t, wire.ClaimRequest{})
	d.wants(t, id, "cat /prewarmed", "GET /prewarm")
	d.wants(t, id, fetch, "hello from www.example.com")
	d.wants(t, id, "wget -q -O - http://denied.example.com/", "bad address")
	d.wants(t, id, "nc -w 5 203.0.113.20 80", "unreachable")

	l := d.echo(t, id)
	l.talks("before")
	saved, err := d.Checkpoint(t.Context(), id, wire.CheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	l.talks("a connection outlives a checkpoint")
	forks, err := d.Fork(t.Context(), id, wire.ForkRequest{Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	l.talks("and a fork")
	restored := d.claim(t, wire.ClaimRequest{Checkpoint: saved.ID})
	for _, other := range append(forks, wire.Claim{ID: restored}) {
		d.wants(t, other.ID, fetch, "hello from www.example.com")
		if err := d.Release(t.Context(), other.ID); err != nil {
			t.Error(err)
		}
	}
	d.wants(t, id, "httpd -p 8000 -h / && echo served", "served")
	d.reaches(t, id)

	// What asks while there is no daemon is answered by the next one. That there is none a program sees by its connection, which ends.
	script := "mkfifo /f; exec 3<>/f; echo connected >&3; nc echo.example.com 7 <&3 >/echoed; " + fetch + " >/after; touch /done"
	if _, err := d.StartProcess(t.Context(), id, wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: []string{"sh", "-c", script}}}); err != nil {
		t.Fatal(err)
	}
	d.wants(t, id, "until grep -s connected /echoed; do sleep 0.1; done", "connected")
	d.process.Kill()
	d.spawn(t)
	d.wants(t, id, "until test -e /done; do sleep 0.1; done; cat /after", "hello from www.example.com")
	d.wants(t, id, fetch, "hello from www.example.com")
	d.wants(t, d.claim(t, wire.ClaimRequest{}), fetch, "hello from www.example.com") // one that waited in the pool through it
	d.reaches(t, id)
}

// reaches asks the sandbox's own server, from the host.
func (d *daemon) reaches(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return d.DialPort(ctx, id, 8000), nil
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandbox/prewarmed", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := web.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || !strings.Contains(string(body), "GET /prewarm") {
		t.Errorf("%q, %v", body, err)
	}
}
