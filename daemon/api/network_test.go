package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// fakeNetworks remembers what it is told, and has a log of entries.
type fakeNetworks struct {
	mu   sync.Mutex
	log  []wire.NetworkEntry
	more chan struct{}
	made int
	kept []string // keys
	busy bool     // there is one more entry at each look
}

func (f *fakeNetworks) Why(_ context.Context, _, host string, port int) (wire.NetworkWhy, error) {
	return wire.NetworkWhy{Name: host, Port: port, Allowed: true, Message: "why not"}, nil
}

func (f *fakeNetworks) Log(_ string, since uint64) (entries []wire.NetworkEntry, next uint64, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy {
		f.addLocked("busy.test")
	}
	return slices.Clone(f.log[min(since, uint64(len(f.log))):]), uint64(len(f.log)), f.more
}

func (f *fakeNetworks) Learned(string) ([]string, error) { return []string{"a.test:443"}, nil }

func (f *fakeNetworks) Keep(own []wire.BoundSecret) (string, error) {
	if len(own) > 0 && own[0].Secret == "" {
		return "", invalid("bound_secrets[0].secret: want one")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	key := fmt.Sprintf("key-%d", f.made)
	f.kept = append(f.kept, key)
	return key, nil
}

func (f *fakeNetworks) Drop(keys ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = slices.DeleteFunc(f.kept, func(key string) bool { return slices.Contains(keys, key) })
}

func (f *fakeNetworks) Describe(_ string, shown *wire.Network) { shown.UsedBytes = 7 }

// add adds an entry to the log.
func (f *fakeNetworks) add(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addLocked(name)
}

func (f *fakeNetworks) addLocked(name string) {
	f.log = append(f.log, wire.NetworkEntry{Number: uint64(len(f.log) + 1), Time: time.Now(), Result: wire.NetworkDenied, Via: wire.ViaName, Name: name})
	close(f.more)
	f.more = make(chan struct{})
}

const doorLabel = `[{"mode":"door","allow":["a.test","b.test:5432"],"learn":true},{}]`

// withNetwork gives the claim that runs a network.
func withNetwork(ts *testServer) {
	ts.claims.mu.Lock()
	defer ts.claims.mu.Unlock()
	c := ts.claims.claims[runningID]
	c.Network = doorLabel
	ts.claims.claims[runningID] = c
}

func TestNetworkOfAClaim(t *testing.T) {
	ts := startServer(t)
	withNetwork(ts)
	const at = "/v1/claims/" + runningID + "/network"
	const layer = `{"of":"template","learn":true,"mode":"door","allow":["a.test","b.test:5432"]}`
	for _, c := range []struct {
		method, path, body string
		status             int
		has                string
	}{
		{"GET", at, "", 200, `{"mode":"door","layers":[` + layer + `,{"of":"claim"}],"names":[{"name":"a.test","ports":[80,443]},{"name":"b.test","ports":[80,443,5432]}],"learned":["a.test:443"],"used_bytes":7}`},
		{"PUT", at, `{"max_bytes":9,"rate":8,"max_connections":7}`, 200, `{"of":"claim","max_connections":7,"rate":8,"max_bytes":9}],`},
		{"PUT", at, `{"max_bytes":-1}`, 400, `whole numbers from 0`},
		{"PUT", at, `{"secrets":["api"]}`, 400, `\"api\" is none that may be used here: those are []`},
		{"PUT", at, `{"mode":"none","rate":1}`, 400, `stands alone`},
		{"PUT", at, `{"allow":[]}`, 200, `{"of":"claim","allow":[]}],"names":[],`},
		{"PUT", at, `{"deny":["a.test"]}`, 200, `{"of":"claim","deny":["a.test"]}],"names":[{"name":"b.test"`},
		{"PUT", at, `{"mode":"none"}`, 200, `{"mode":"none","layers":[` + layer + `,{"of":"claim","mode":"none"}],"names":[]`},
		{"PUT", at, `{"allow":["127.1"]}`, 400, `network: allow[0]: rule \"127.1\"`},
		{"PUT", at, `{"allows":[]}`, 400, `unknown field`},
		{"GET", at, "", 200, `{"mode":"none"`},
		{"GET", at + "/why?name=a.test&port=22", "", 200, `{"name":"a.test","port":22,"allowed":true,"message":"why not"}`},
		{"GET", at + "/why?name=a.test", "", 200, `"port":443`},
		{"GET", at + "/why?port=22", "", 400, "network: name: missing"},
		{"GET", at + "/why?name=a.test&port=0", "", 400, "want 1 to 65535"},
		{"GET", at + "/log?since=x", "", 400, "want the number of an entry"},
		{"GET", at + "/log?follow=x", "", 400, "want true or false"},
		{"GET", "/v1/claims/" + deadID + "/network", "", 200, `{"mode":"none","layers":[],"names":[],"used_bytes":7}`},
		{"PUT", "/v1/claims/" + deadID + "/network", `{"deny":["a.test"]}`, 400, "its template has network.mode"},
		{"GET", "/v1/claims/" + deadID + "/network/why?name=a.test", "", 200, `"allowed":false,"kind":"default","message":"The sandbox has no network."`},
		{"GET", "/v1/claims/" + missingID + "/network", "", 404, "does not exist"},
		{"PUT", "/v1/claims/" + missingID + "/network", `{}`, 404, "does not exist"},
		{"GET", "/v1/claims/" + missingID + "/network/why?name=a.test", "", 404, "does not exist"},
		{"GET", "/v1/claims/" + missingID + "/network/log", "", 404, "does not exist"},
		{"POST", "/v1/claims", `{"network":{"mode":"none","allow":["a.test"]}}`, 400, "stands alone"},
	} {
		got := ts.do(t, c.method, c.path, c.body)
		if got.status != c.status || !strings.Contains(got.body, c.has) {
			t.Errorf("%s %s %s: %d %s\nwant %d %s", c.method, c.path, c.body, got.status, got.body, c.status, c.has)
		}
	}
}

// TestClaimsNarrowTheirNetwork reads what the pools are asked for.
func TestClaimsNarrowTheirNetwork(t *testing.T) {
	ts := startServer(t)
	saved := ts.shelf.all[savedID]
	saved.Network = `[{"mode":"door","allow":["a.test"]},{}]`
	ts.shelf.all[savedID] = saved
	for _, c := range []struct{ body, has, want string }{
		{`{"network":{"deny":["a.test"]}}`, `[{"mode":"door","allow":["*"]}]`, `[{"mode":"door","allow":["*"]},{"deny":["a.test"]}]`},
		{`{"checkpoint":"` + savedID + `"}`, `[{"mode":"door","allow":["*"]}]`, `[{"mode":"door","allow":["*"]},{"mode":"door","allow":["a.test"],"secrets":[]},{}]`},
	} {
		if got := ts.do(t, "POST", "/v1/claims", c.body); got.status != http.StatusCreated {
			t.Fatal(got.body)
		}
		if got, err := ts.claims.last.Network(c.has); got != c.want || err != nil {
			t.Errorf("%s: %s, %v, want %s", c.body, got, err, c.want)
		}
	}
}

// TestNetworkLogEnds asks for what a sandbox did that goes on doing things.
func TestNetworkLogEnds(t *testing.T) {
	ts := startServer(t)
	withNetwork(ts)
	ts.networks.busy = true
	if got := ts.do(t, "GET", "/v1/claims/"+runningID+"/network/log", ""); strings.Count(got.body, "busy.test") != 1 {
		t.Errorf("%.300s", got.body)
	}
}

func TestNetworkLogIsFollowed(t *testing.T) {
	ts := startServer(t)
	withNetwork(ts)
	ts.networks.add("a.test")
	ts.networks.add("b.test")
	const at = "/v1/claims/" + runningID + "/network/log"
	if got := ts.do(t, "GET", at+"?since=1", ""); strings.Contains(got.body, "a.test") || !strings.Contains(got.body, `"name":"b.test"`) {
		t.Error(got.body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandpool"+at+"?follow=true", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := ts.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for i, name := range []string{"a.test", "b.test", "c.test"} {
		if i == 2 {
			ts.networks.add(name)
		}
		var e wire.NetworkEntry
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &e) != nil || e.Name != name || e.Number != uint64(i+1) {
			t.Fatal(fmt.Sprint(i, lines.Text(), lines.Err()))
		}
	}
}
