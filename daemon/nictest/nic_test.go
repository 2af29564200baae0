package nictest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/scripts/outside"
)

const nicTemplate = `
[network]
resolvers = ["` + outside.Resolver + `"]

[templates.default]
image = "file://%s"
prewarm = ["wget -q -O /prewarmed http://www.example.com/prewarm"]

[templates.default.network]
mode = "nic"
allow = ["www.example.com", "echo.example.com:7", "` + outside.Resolver + `"]

[templates.door]
image = "file://%s"

[templates.door.network]
mode = "door"
allow = ["www.example.com"]

[pools.default]
target = 1
max = 8

[pools.door]
target = 0
max = 2
`

// claim returns the id of a claim.
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

// wants runs a command line in a sandbox that has to say something.
func (d *daemon) wants(t *testing.T, id, line, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	code, err := d.Exec(ctx, id, wire.ExecRequest{Args: []string{"sh", "-c", line}}, client.Stdio{Out: &out, Err: &out})
	if said := out.String(); err != nil || !strings.Contains(said, want) {
		t.Errorf("%s: %s says %q, %d, %v; want %q", id, line, said, code, err, want)
	}
}

// line is a connection of a program in a sandbox to the server that echoes.
type line struct {
	t     *testing.T
	say   *io.PipeWriter
	heard *bufio.Scanner
}

func (d *daemon) echo(t *testing.T, id string) *line {
	t.Helper()
	input, say := io.Pipe()
	heard, out := io.Pipe()
	l := &line{t, say, bufio.NewScanner(heard)}
	go func() {
		_, _ = d.Exec(t.Context(), id, wire.ExecRequest{Args: []string{"nc", outside.Echo, fmt.Sprint(outside.EchoPort)}}, client.Stdio{In: input, Out: out, Err: io.Discard})
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

// TestInterface leads one sandbox with an interface through all that may become of it.
func TestInterface(t *testing.T) {
	d := start(t, fmt.Sprintf(nicTemplate, host.Image, host.Image))
	id := d.claim(t, wire.ClaimRequest{})
	d.wants(t, id, "cat /prewarmed", "GET /prewarm")
	d.wants(t, id, fetch, "hello from www.example.com")
	d.wants(t, id, "wget -q -O - http://denied.example.com/", "bad address")
	d.wants(t, id, "nslookup www.example.com 203.0.113.53 2>&1", "203.0.113.") // by UDP, to an address
	for _, to := range []string{"203.0.113.53 80", "198.51.100.1 80", "10.20.30.40 80", "169.254.169.254 80", "172.16.0.1 80", "100.64.0.1 80", "10.200.0.1 80", hostAddress + " 80", "10.7.7.7 22", "198.19.0.1 80"} {
		d.wants(t, id, "nc -w 60 "+to+" 2>&1 </dev/null", "refused")
	}
	for _, address := range []string{"10.20.30.40", "169.254.169.254", "172.16.0.1", "100.64.0.1"} {
		if n := d.world.Came(address); n > 0 {
			t.Errorf("%d connections came to %s", n, address)
		}
	}
	d.wants(t, id, "cat /proc/net/dev", "eth0")

	l := d.echo(t, id)
	l.talks("before")
	if _, err := d.StartProcess(t.Context(), id, wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: []string{"httpd", "-f", "-p", "8000", "-h", "/"}}}); err != nil {
		t.Fatal(err)
	}
	d.wants(t, id, "until wget -q -O - http://127.0.0.1:8000/prewarmed; do sleep 0.1; done", "GET /prewarm")
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
		d.wants(t, other.ID, "wget -q -O - http://127.0.0.1:8000/prewarmed", "GET /prewarm")
		if err := d.Release(t.Context(), other.ID); err != nil {
			t.Error(err)
		}
	}
	// Rules of a claim narrow, at once.
	if _, err := d.SetNetwork(t.Context(), id, wire.NetworkRules{Allow: []string{"echo.example.com:7"}}); err != nil {
		t.Error(err)
	}
	d.wants(t, id, fetch+" 2>&1", "bad address")
	d.wants(t, id, "nc -w 60 203.0.113.53 53 2>&1 </dev/null", "refused")
	l.talks("what is connected stays")
	why, err := d.WhyNetwork(t.Context(), id, "203.0.113.53", 53)
	if err != nil || why.Allowed || !strings.Contains(why.Message, "claim") {
		t.Errorf("%+v, %v", why, err)
	}
	if _, err := d.SetNetwork(t.Context(), id, wire.NetworkRules{}); err != nil {
		t.Error(err)
	}
	// While there is no daemon the interface stays.
	d.wants(t, id, fetch, "hello from www.example.com")
	d.process.Kill()
	d.refuses(t, "sysctl -w net.ipv4.ip_forward=1")
	d.spawn(t)
	d.wants(t, id, fetch, "hello from www.example.com")
	d.wants(t, d.claim(t, wire.ClaimRequest{}), fetch, "hello from www.example.com") // one that waited in the pool through it
}
