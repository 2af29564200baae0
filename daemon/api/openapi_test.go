package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sandpool/daemon/openapi"
	"sandpool/daemon/openapi/openapitest"
	"sandpool/runtime"
)

// TestDescriptionNamesParameters gives each route that has parameters in its query all that any has. It takes those that are described and refuses
// the others. Its answers are as described.
func TestDescriptionNamesParameters(t *testing.T) {
	check, err := openapitest.New()
	if err != nil {
		t.Fatal(err)
	}
	ts := newTestAPI(t)
	_, feed, stop := newFeed(t, 9)
	defer stop()
	ts.api.Events, ts.api.Stopping = feed.Events, feed.Stopping
	ts.api.Exec = filesExec(make(chan string, 999))
	ts.api.Processes = func(context.Context, string) (runtime.Processes, error) { return runtime.Processes{}, nil }
	ts.listen(t)
	described := describedParameters(t)
	names := parameterWords(t)
	for _, parameters := range described {
		names = append(names, parameters...)
	}
	slices.Sort(names)
	for route, parameters := range described {
		method, at, _ := strings.Cut(route, " ")
		at = strings.NewReplacer("{id}", runningID, "{pid}", "7").Replace(at)
		for _, name := range slices.Compact(names) {
			target := at + "?" + url.Values{name: {"missing"}}.Encode() // no switch or number, and no file of the fake
			got := ts.do(t, method, target, "", upgradeLines()...)
			if err := check.Check(method, target, got.status, got.header, []byte(got.body)); err != nil {
				t.Error(err)
			}
			if taken := !strings.Contains(got.body, "unknown parameter"); taken != slices.Contains(parameters, name) {
				t.Errorf("%s: parameter %s is taken: %v, described: %v: %s", route, name, taken, !taken, got.body)
			}
		}
	}
}

// parameterWords returns the words of the code that may be names of parameters.
func parameterWords(t *testing.T) (words []string) {
	t.Helper()
	for _, file := range []string{"api.go", "feed.go", "processes.go", "../metadata/metadata.go", "../rules/ask.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?:case |key [!=]= |, )"([a-z_]+)"`).FindAllStringSubmatch(string(text), -1) {
			words = append(words, match[1])
		}
	}
	return words
}

// describedParameters returns the parameters in the queries of routes that have any.
func describedParameters(t *testing.T) map[string][]string {
	t.Helper()
	type parameter struct {
		Ref      string `json:"$ref"`
		Name, In string
	}
	var document struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Parameters map[string]parameter }
	}
	read := func(text []byte, into any) {
		t.Helper()
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	read([]byte(openapi.Document), &document)
	described := map[string][]string{}
	for at, item := range document.Paths {
		var common []parameter
		if text := item["parameters"]; text != nil {
			read(text, &common)
		}
		delete(item, "parameters")
		for method, text := range item {
			var operation struct{ Parameters []parameter }
			read(text, &operation)
			for _, p := range slices.Concat(common, operation.Parameters) {
				if p.Ref != "" {
					p = document.Components.Parameters[path.Base(p.Ref)]
				}
				if p.In == "query" {
					route := strings.ToUpper(method) + " " + at
					described[route] = append(described[route], p.Name)
				}
			}
		}
	}
	return described
}

// TestAnswersAreAsDescribed checks what needs no sandbox. Those of a daemon with sandboxes are checked in daemontest.
func TestAnswersAreAsDescribed(t *testing.T) {
	check, err := openapitest.New()
	if err != nil {
		t.Fatal(err)
	}
	ts := startServer(t)
	withNetwork(ts)
	ts.networks.add("a.test")
	for _, request := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/openapi.json", "", http.StatusOK},
		{"GET", "/v1/claims", "", http.StatusOK},
		{"POST", "/v1/claims", `{"request_id":"again"}`, http.StatusOK},
		{"POST", "/v1/claims/" + runningID + "/fork", `{"count":2}`, http.StatusCreated},
		{"POST", "/v1/claims/" + runningID + "/exec", `{}`, http.StatusUpgradeRequired},
		{"GET", "/v1/claims/x", "", http.StatusBadRequest},
		{"GET", "/v1/claims/" + missingID, "", http.StatusNotFound},
		{"GET", "/v1/claims/" + runningID + "/network", "", http.StatusOK},
		{"PUT", "/v1/claims/" + runningID + "/network", `{"deny":["a.test"]}`, http.StatusOK},
		{"GET", "/v1/claims/" + runningID + "/network/why?name=a.test&port=22", "", http.StatusOK},
		{"GET", "/v1/claims/" + runningID + "/network/log", "", http.StatusOK},
		{"PUT", "/v1/pools/default", `{"target":3}`, http.StatusOK},
		{"GET", "/v1/images", "", http.StatusOK},
		{"GET", "/metrics", "", http.StatusOK},
	} {
		got := ts.do(t, request.method, request.path, request.body)
		if got.status != request.status {
			t.Errorf("%s %s: %d, want %d", request.method, request.path, got.status, request.status)
		}
		if err := check.Check(request.method, request.path, got.status, got.header, []byte(got.body)); err != nil {
			t.Error(err)
		}
	}
	if got := ts.do(t, "GET", "/v1/openapi.json", ""); got.body != openapi.Document {
		t.Errorf("the description that is served has %d bytes, want %d", len(got.body), len(openapi.Document))
	}
}
