package networktest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/scripts/outside"
)

// plainTemplate has no network.
const plainTemplate = `
[templates.plain]
image = "file://%s"
`

// denied is what a program says of a name that its sandbox may not connect to.
const denied = "bad address"

// refuses runs a command line whose name the rules have come to deny. That holds at once; process 1, which knew the name, hears of it a moment later.
func (d *Daemon) refuses(t *testing.T, id, line string) {
	t.Helper()
	said, code := d.run(t, id, line)
	for end := time.Now().Add(Patience); !strings.Contains(said, denied); said, code = d.run(t, id, line) {
		if strings.Contains(said, "hello") || time.Now().After(end) {
			t.Errorf("%s: %s says %q, %d; want %q", id, line, said, code, denied)
			return
		}
	}
}

// TestRules narrows what claims may connect to, in every way and through all that may become of them.
func TestRules(t *testing.T) {
	d := start(t, fmt.Sprintf(doorTemplate+plainTemplate, host.Image, host.Image))
	set := func(id string, own wire.NetworkRules) wire.Network {
		t.Helper()
		network, err := d.SetNetwork(t.Context(), id, own)
		if err != nil {
			t.Fatal(err)
		}
		return network
	}
	wait := lifetime.Duration(Patience)
	_, err := d.Claim(t.Context(), wire.ClaimRequest{Template: "plain", Wait: &wait, Network: &wire.NetworkRules{Allow: []string{"www.example.com"}}})
	if answer, refused := err.(*wire.Error); !refused || answer.Status != http.StatusBadRequest { //nolint:errorlint // nothing wraps it
		t.Errorf("a network that there is not: %v", err)
	}

	id := d.ClaimID(t, wire.ClaimRequest{Network: &wire.NetworkRules{Deny: []string{outside.Echo}}})
	d.Wants(t, id, fetch, "hello from www.example.com")
	d.refuses(t, id, "nc -w 5 "+outside.Echo+" 7")
	why, err := d.WhyNetwork(t.Context(), id, outside.Echo, outside.EchoPort)
	if err != nil || why.Allowed || why.Rule != outside.Echo || why.Last == nil || why.Last.Result != wire.NetworkDenied {
		t.Errorf("why: %+v, %v", why, err)
	}

	set(id, wire.NetworkRules{Allow: []string{outside.Echo + ":7"}})
	d.refuses(t, id, fetch)
	l := d.Echo(t, id)
	l.Talks("by the new rules")
	set(id, wire.NetworkRules{Mode: "none"})
	l.Talks("what is connected stays so")
	d.refuses(t, id, "nc -w 5 "+outside.Echo+" 7")
	saved, err := d.Checkpoint(t.Context(), id, wire.CheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	d.Process.Kill()
	d.Spawn(t)
	d.refuses(t, id, fetch) // by its label
	if network := set(id, wire.NetworkRules{}); network.Mode != "door" || len(network.Names) != 2 {
		t.Errorf("with the template's rules alone: %+v", network)
	}
	d.Wants(t, id, fetch, "hello from www.example.com")

	restored := d.ClaimID(t, wire.ClaimRequest{Checkpoint: saved.ID, Network: &wire.NetworkRules{Allow: []string{"*"}}})
	d.refuses(t, restored, fetch)
	if network := set(restored, wire.NetworkRules{}); network.Mode != "none" {
		t.Errorf("it has more than was saved: %+v", network)
	}
	d.refuses(t, restored, fetch)
	d.logs(t, id)
}

// logs wants the log of a claim to have what was allowed since the daemon was started.
func (d *Daemon) logs(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	results := map[wire.NetworkResult]int{}
	err := d.NetworkLog(ctx, id, 0, false, func(e wire.NetworkEntry) error {
		results[e.Result]++
		return nil
	})
	if err != nil || results[wire.NetworkDenied] == 0 || results[wire.NetworkOpened] == 0 {
		t.Errorf("the log has %v, %v", results, err)
	}
}
