package daemontest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"sandpool/configs"
	"sandpool/daemon/openapi/openapitest"
	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// TestDescription checks a real answer of each operation by the description of the API, and runs the examples that use the API without a library.
func TestDescription(t *testing.T) {
	check, err := openapitest.New()
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, 2, 4)
	network := configs.TemplateNetwork{Mode: egress.Door, Allow: []string{"allowed.example"}, MaxConnections: 10}
	cfg.Templates["default"] = configs.Template{Image: cfg.Templates["default"].Image, Network: network}
	d := start(t, cfg)
	t.Run("answers", func(t *testing.T) {
		connect := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.Socket)
		}
		a := &asker{check: check, http: &http.Client{Transport: &http.Transport{DialContext: connect}}}
		defer a.http.CloseIdleConnections()
		askForClaims(t, a)
		askForTheRest(t, a)
		if left := check.Unanswered(); len(left) > 0 {
			t.Errorf("never asked for: %v", left)
		}
	})
	hold := false
	if _, err := d.ChangePool(t.Context(), "default", wire.PoolChange{Hold: &hold}); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"python3", "../../docs/examples/claim.py"}, {"node", "../../docs/examples/claim.mjs"}} {
		t.Run(command[0], func(t *testing.T) {
			const want = "hello, world\nstep 1\nstep 2\nstep 3\nexit code 0\nWHAT CAME IN\n"
			out, err := exec.CommandContext(t.Context(), command[0], append(command[1:], d.Socket)...).CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("%v: %v, %q, want %q", command, err, out, want)
			}
			if list, err := d.List(t.Context()); err != nil || len(list) > 0 {
				t.Errorf("claims are left: %+v, %v", list, err)
			}
		})
	}
}

// asker asks a daemon, and checks each answer by the description.
type asker struct {
	check *openapitest.Checker
	http  *http.Client
}

// open sends a request; headers hold lines such as "Range: bytes=0-".
func (a *asker) open(t *testing.T, status int, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sandpool"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Errorf("%s %s is answered with %s, want %d", method, path, resp.Status, status)
	}
	return resp
}

// finish reads an answer to its end, checks and returns it. That to an upgrade has none.
func (a *asker) finish(t *testing.T, resp *http.Response) string {
	t.Helper()
	var body []byte
	var err error
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, err = io.ReadAll(resp.Body)
	}
	if closeErr := resp.Body.Close(); err != nil || closeErr != nil {
		t.Errorf("%s %s: %v, %v", resp.Request.Method, resp.Request.URL, err, closeErr)
	}
	if err := a.check.Check(resp.Request.Method, resp.Request.URL.RequestURI(), resp.StatusCode, resp.Header, body); err != nil {
		t.Error(err)
	}
	return string(body)
}

func (a *asker) ask(t *testing.T, status int, method, path, body string, headers ...string) string {
	t.Helper()
	return a.finish(t, a.open(t, status, method, path, body, headers...)) //nolint:bodyclose // finish does
}

// read decodes an answer.
func read[T any](t *testing.T, body string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

var upgradeToFrames = []string{"Connection: Upgrade", "Upgrade: " + wire.ExecProtocol}

func askForClaims(t *testing.T, a *asker) {
	const request = `{"request_id":"one","env":["A=1"],"metadata":{"job":"17"},"files":[{"path":"/tmp/x","text":"x"}],"command":["sh","-c","echo out; echo err >&2; exit 3"]}`
	c := read[wire.Claim](t, a.ask(t, 201, "POST", "/v1/claims", request))
	at := "/v1/claims/" + c.ID
	defer a.ask(t, 204, "DELETE", at, "")
	a.ask(t, 200, "POST", "/v1/claims", `{"request_id":"one"}`)
	a.ask(t, 400, "POST", "/v1/claims", `{"template":5}`)
	a.ask(t, 404, "POST", "/v1/claims", `{"template":"none"}`)
	a.ask(t, 200, "GET", "/v1/claims?metadata=job=17", "")
	a.ask(t, 200, "GET", at, "")
	a.ask(t, 200, "POST", at+"/extend", "")
	a.ask(t, 101, "POST", at+"/exec", `{"args":["cat"]}`, upgradeToFrames...)
	a.ask(t, 426, "POST", at+"/exec", `{"args":["cat"]}`)
	askForProcesses(t, a, at, c.Process.PID)
	askForFiles(t, a, at)
	askForNetwork(t, a, at)
	saved := read[wire.Checkpoint](t, a.ask(t, 201, "POST", at+"/checkpoint", `{"comment":"a note"}`))
	a.ask(t, 200, "GET", "/v1/checkpoints", "")
	a.ask(t, 200, "GET", "/v1/checkpoints/"+saved.ID, "")
	a.ask(t, 204, "DELETE", "/v1/checkpoints/"+saved.ID, "")
	a.ask(t, 404, "GET", "/v1/checkpoints/"+saved.ID, "")
	for _, fork := range read[wire.ClaimList](t, a.ask(t, 201, "POST", at+"/fork", `{"count":1}`)).Claims {
		a.ask(t, 200, "GET", "/v1/claims/"+fork.ID, "")
		a.ask(t, 204, "DELETE", "/v1/claims/"+fork.ID, "")
	}
}

func askForNetwork(t *testing.T, a *asker, at string) {
	a.ask(t, 101, "POST", at+"/ports/8000", "", upgradeToFrames...)
	a.ask(t, 400, "POST", at+"/ports/0", "", upgradeToFrames...)
	a.ask(t, 200, "GET", at+"/network", "")
	a.ask(t, 200, "PUT", at+"/network", `{"deny":["denied.example"]}`)
	a.ask(t, 400, "PUT", at+"/network/secrets", `{}`)
	a.ask(t, 200, "PUT", at+"/network/secrets", `{"bound_secrets":[]}`)
	a.ask(t, 200, "GET", at+"/network/why?name=denied.example", "")
	fetch := read[wire.Process](t, a.ask(t, 201, "POST", at+"/processes", `{"args":["wget","-q","-O","-","http://denied.example/"]}`))
	a.ask(t, 200, "GET", fmt.Sprintf("%s/processes/%d/output?follow=true", at, fetch.PID), "")
	if log := a.ask(t, 200, "GET", at+"/network/log", ""); !strings.Contains(log, "denied.example") {
		t.Errorf("the log of the network is %q", log)
	}
}

func askForProcesses(t *testing.T, a *asker, at string, ended int) {
	a.ask(t, 200, "GET", fmt.Sprintf("%s/processes/%d/output?follow=true", at, ended), "")
	a.ask(t, 200, "GET", fmt.Sprintf("%s/processes/%d", at, ended), "")
	started := read[wire.Process](t, a.ask(t, 201, "POST", at+"/processes", `{"args":["cat"],"tty":true,"rows":24,"cols":80,"user":"1234","timeout":"1h"}`))
	process := fmt.Sprintf("%s/processes/%d", at, started.PID)
	a.ask(t, 204, "POST", process+"/resize", `{"rows":30,"cols":90}`)
	a.ask(t, 204, "POST", process+"/input", "typed\n")
	a.ask(t, 101, "POST", process+"/attach?since=0", "", upgradeToFrames...)
	a.ask(t, 200, "GET", at+"/processes", "")
	a.ask(t, 200, "GET", process+"/output", "")
	a.ask(t, 204, "POST", process+"/signal", `{"signal":9}`)
	a.ask(t, 200, "GET", process+"/output?follow=true", "")
	a.ask(t, 400, "POST", at+"/processes", `{"args":["no-such-program"]}`)
	a.ask(t, 404, "GET", at+"/processes/99999", "")
}

func askForFiles(t *testing.T, a *asker, at string) {
	file := func(operation, query string) string { return at + "/files" + operation + "?path=/srv/d" + query }
	a.ask(t, 200, "POST", file("/mkdir", "&parents=true&mode=755"), "")
	written := read[wire.File](t, a.ask(t, 200, "PUT", file("", "/one&mode=600&mtime=2026-01-02T15:04:05Z"), "content"))
	a.ask(t, 200, "GET", file("", "/one"), "")
	a.ask(t, 206, "GET", file("", "/one"), "", "Range: bytes=2-3")
	a.ask(t, 304, "GET", file("", "/one"), "", "If-None-Match: "+written.ETag)
	a.ask(t, 412, "GET", file("", "/one"), "", `If-Match: "other"`)
	a.ask(t, 404, "GET", file("", "/two"), "")
	a.ask(t, 200, "POST", file("/move", "/one&to=/srv/d/odd%FF"), "")
	a.ask(t, 200, "POST", file("/chmod", "/odd%FF&mode=644"), "")
	a.ask(t, 200, "POST", file("/chown", "/odd%FF&owner=1234:77"), "")
	a.ask(t, 200, "GET", file("/stat", "/odd%FF&follow=true"), "")
	a.ask(t, 200, "GET", at+"/files/stat?path=/proc/self", "")
	a.ask(t, 200, "GET", at+"/files/list?path=/dev", "")
	a.ask(t, 200, "GET", file("/list", "&depth=0&user=1234"), "")
	a.ask(t, 204, "PUT", at+"/tar?path=/srv", a.ask(t, 200, "GET", at+"/tar?path=/srv/d&as=copy", ""))
	changes := a.open(t, 200, "GET", file("/watch", "&recursive=true"), "") //nolint:bodyclose // finish does
	a.ask(t, 200, "PUT", file("", "/odd%FF"), "changed")
	a.ask(t, 204, "DELETE", file("", "&recursive=true"), "")
	if told := a.finish(t, changes); !strings.Contains(told, "path_bytes") {
		t.Errorf("told of changes: %s", told)
	}
}

func askForTheRest(t *testing.T, a *asker) {
	a.ask(t, 200, "GET", "/v1/events?follow=false", "")
	a.ask(t, 400, "GET", "/v1/events?claim=x", "")
	for _, path := range []string{"/v1/pools", "/v1/templates", "/v1/images", "/v1/info", "/v1/openapi.json", "/healthz", "/readyz", "/metrics"} {
		a.ask(t, 200, "GET", path, "")
	}
	a.ask(t, 200, "POST", "/v1/templates/default/check", "")
	a.ask(t, 200, "PUT", "/v1/pools/default", `{"min":1,"target":1,"hot":1}`)
	a.ask(t, 200, "POST", "/v1/pools/default/drain", "")
	a.ask(t, 200, "GET", "/v1/claims", "")
}
