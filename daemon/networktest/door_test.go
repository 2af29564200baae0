package networktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sandpool/daemon/wire"
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

const fetch = "wget -q -O - http://www.example.com/"

// TestDoor leads one sandbox with a door through all that may become of it.
func TestDoor(t *testing.T) {
	d := start(t, fmt.Sprintf(doorTemplate, host.Image))
	id := d.ClaimID(t, wire.ClaimRequest{})
	d.Wants(t, id, "cat /prewarmed", "GET /prewarm")
	d.Wants(t, id, fetch, "hello from www.example.com")
	d.Wants(t, id, "wget -q -O - http://denied.example.com/", "bad address")
	d.Wants(t, id, "nc -w 5 203.0.113.20 80", "unreachable")

	l := d.Echo(t, id)
	l.Talks("before")
	saved, err := d.Checkpoint(t.Context(), id, wire.CheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	l.Talks("a connection outlives a checkpoint")
	forks, err := d.Fork(t.Context(), id, wire.ForkRequest{Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	l.Talks("and a fork")
	restored := d.ClaimID(t, wire.ClaimRequest{Checkpoint: saved.ID})
	for _, other := range append(forks, wire.Claim{ID: restored}) {
		d.Wants(t, other.ID, fetch, "hello from www.example.com")
		if err := d.Release(t.Context(), other.ID); err != nil {
			t.Error(err)
		}
	}
	d.Wants(t, id, "httpd -p 8000 -h / && echo served", "served")
	d.reaches(t, id)

	// What asks while there is no daemon is answered by the next one. That there is none a program sees by its connection, which ends.
	script := "mkfifo /f; exec 3<>/f; echo connected >&3; nc echo.example.com 7 <&3 >/echoed; " + fetch + " >/after; touch /done"
	if _, err := d.StartProcess(t.Context(), id, wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: []string{"sh", "-c", script}}}); err != nil {
		t.Fatal(err)
	}
	d.Wants(t, id, "until grep -s connected /echoed; do sleep 0.1; done", "connected")
	d.Process.Kill()
	d.Spawn(t)
	d.Wants(t, id, "until test -e /done; do sleep 0.1; done; cat /after", "hello from www.example.com")
	d.Wants(t, id, fetch, "hello from www.example.com")
	d.Wants(t, d.ClaimID(t, wire.ClaimRequest{}), fetch, "hello from www.example.com") // one that waited in the pool through it
	d.reaches(t, id)
}

// reaches asks the sandbox's own server, from the host.
func (d *Daemon) reaches(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
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
