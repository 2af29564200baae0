package nictest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"sandpool/daemon/wire"
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
allow = ["www.example.com", "echo.example.com:7", "` + outside.Resolver + `", "*.rebound.example.com:80"]

[[templates.default.mounts]]
source = %q
target = "/mnt/guest"

[pools.default]
target = 1
max = 8
`

const fetch = "wget -q -O - http://www.example.com/"

// TestInterface leads one sandbox with an interface through all that may become of it.
func TestInterface(t *testing.T) {
	d := start(t, fmt.Sprintf(nicTemplate, host.Image, buildGuest(t)))
	id := d.ClaimID(t, wire.ClaimRequest{})
	d.Wants(t, id, "cat /prewarmed", "GET /prewarm")
	d.Wants(t, id, fetch, "hello from www.example.com")
	d.Wants(t, id, "wget -q -O - http://denied.example.com/", "bad address")
	d.Wants(t, id, "nslookup www.example.com 203.0.113.53 2>&1", "203.0.113.") // by UDP, to an address
	for _, to := range []string{"203.0.113.53 80", "198.51.100.1 80", "10.20.30.40 80", "169.254.169.254 80", "172.16.0.1 80", "100.64.0.1 80", "10.200.0.1 80", hostAddress + " 80", "10.7.7.7 22", "198.19.0.1 80"} {
		d.Wants(t, id, "nc -w 60 "+to+" 2>&1 </dev/null", "refused")
	}
	for _, address := range []string{"10.20.30.40", "169.254.169.254", "172.16.0.1", "100.64.0.1"} {
		if n := d.World.Came(address); n > 0 {
			t.Errorf("%d connections came to %s", n, address)
		}
	}
	d.Wants(t, id, "cat /proc/net/dev", "eth0")

	d.isAttacked(t, id)

	l := d.Echo(t, id)
	l.Talks("before")
	if _, err := d.StartProcess(t.Context(), id, wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: []string{"httpd", "-f", "-p", "8000", "-h", "/"}}}); err != nil {
		t.Fatal(err)
	}
	d.Wants(t, id, "until wget -q -O - http://127.0.0.1:8000/prewarmed; do sleep 0.1; done", "GET /prewarm")
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
		d.Wants(t, other.ID, "wget -q -O - http://127.0.0.1:8000/prewarmed", "GET /prewarm")
		if err := d.Release(t.Context(), other.ID); err != nil {
			t.Error(err)
		}
	}
	// Rules of a claim narrow, at once.
	if _, err := d.SetNetwork(t.Context(), id, wire.NetworkRules{Allow: []string{"echo.example.com:7"}}); err != nil {
		t.Error(err)
	}
	d.Wants(t, id, fetch+" 2>&1", "bad address")
	d.Wants(t, id, "nc -w 60 203.0.113.53 53 2>&1 </dev/null", "refused")
	l.Talks("what is connected stays")
	why, err := d.WhyNetwork(t.Context(), id, "203.0.113.53", 53)
	if err != nil || why.Allowed || !strings.Contains(why.Message, "claim") {
		t.Errorf("%+v, %v", why, err)
	}
	if _, err := d.SetNetwork(t.Context(), id, wire.NetworkRules{}); err != nil {
		t.Error(err)
	}
	// While there is no daemon the interface stays.
	d.Wants(t, id, fetch, "hello from www.example.com")
	d.Process.Kill()
	d.refuses(t, "sysctl -w net.ipv4.ip_forward=1")
	d.Spawn(t)
	d.Wants(t, id, fetch, "hello from www.example.com")
	d.Wants(t, d.ClaimID(t, wire.ClaimRequest{}), fetch, "hello from www.example.com") // one that waited in the pool through it
	d.changesMode(t, saved.ID)
}

// changesMode has a checkpoint that was taken with an interface go on with a door alone, and one of that with an interface again.
func (d *daemon) changesMode(t *testing.T, checkpoint string) {
	t.Helper()
	const hasInterface = "grep -q eth0 /proc/net/dev && echo interface || echo none"
	d.respawn(t, `mode = "nic"`, `mode = "door"`)
	id := d.ClaimID(t, wire.ClaimRequest{Checkpoint: checkpoint})
	d.Wants(t, id, hasInterface, "none")
	d.Wants(t, id, fetch, "hello from www.example.com")
	saved, err := d.Checkpoint(t.Context(), id, wire.CheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	d.respawn(t, `mode = "door"`, `mode = "nic"`)
	id = d.ClaimID(t, wire.ClaimRequest{Checkpoint: saved.ID})
	d.Wants(t, id, hasInterface, "interface")
	d.Wants(t, id, fetch, "hello from www.example.com")
}

// respawn restarts the daemon with another text in its configuration.
func (d *daemon) respawn(t *testing.T, before, after string) {
	t.Helper()
	text, err := os.ReadFile(d.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Config, bytes.ReplaceAll(text, []byte(before), []byte(after)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Process.Kill()
	d.Spawn(t)
}
