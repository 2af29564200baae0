package openapitest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

const (
	pool       = `{"name":"l:d","template":"d","min":1,"target":1,"max":1,"wanted":1,"scale_up_threshold":1,"scale_down_threshold":1,"hot":0,"adaptive":false,"hold":false,"ready":0,"available":0,"running":0,"in_use":0,"starting":0,"warming":0,"total":0,"waiting":0,"started":0}`
	checkpoint = `{"id":"ck-aaaaaaaaaaaaaaaa","created_at":"2026-11-25T07:50:38.999Z","claim":"c","sandbox":"s","template":"t","owner":"uid:0","trigger":"request","bytes":8,"runsc":"r","platform":"p","image":"i","image_digest":"d"}`
)

// TestCheck lets pass what is described, and nothing else.
func TestCheck(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	const output, json, lines, plain = "/v1/claims/c-aaaaaaaaaaaaaaaa/processes/3/output?since=0", "application/json", "application/x-ndjson", "text/plain; charset=utf-8"
	for name, exchange := range map[string]struct {
		method, path string
		status       int
		kind, body   string
		want         string // a part of the error; empty for none
	}{
		"good":                 {"GET", "/v1/pools", 200, json, `{"pools":[` + pool + `]}`, ""},
		"error":                {"GET", "/v1/pools", 503, json, `{"status":503,"code":"unavailable","message":"m"}`, ""},
		"lines":                {"GET", output, 200, lines, `{"position":0,"stream":"stdout","data":"b2s="}` + "\n" + `{"position":2}` + "\n", ""},
		"text":                 {"GET", "/healthz", 200, plain, "ok\n", ""},
		"nothing":              {"DELETE", "/v1/claims/c-aaaaaaaaaaaaaaaa", 204, "", "", ""},
		"a path":               {"GET", "/v1/nothing", 200, json, `{}`, "GET /v1/nothing is not described"},
		"a method":             {"POST", "/v1/pools", 200, json, `{}`, "POST /v1/pools is not described"},
		"a status":             {"GET", "/v1/pools", 201, json, `{"pools":[]}`, "201"},
		"a type":               {"GET", "/v1/pools", 200, plain, `{"pools":[]}`, "text/plain"},
		"no type":              {"GET", "/v1/pools", 200, "", `{"pools":[]}`, "content type"},
		"content":              {"DELETE", "/v1/claims/c-aaaaaaaaaaaaaaaa", 204, json, `{}`, "want none"},
		"a field":              {"GET", "/v1/pools", 200, json, `{"pools":[],"more":1}`, "more"},
		"a field within":       {"GET", "/v1/pools", 200, json, `{"pools":[` + strings.Replace(pool, `"min"`, `"mim"`, 1) + `]}`, "mim"},
		"a field of an error":  {"GET", "/v1/pools", 503, json, `{"status":503,"code":"unavailable","message":"m","more":1}`, "more"},
		"a missing field":      {"GET", "/v1/pools", 200, json, `{}`, "pools"},
		"null for a list":      {"GET", "/v1/pools", 200, json, `{"pools":null}`, "null"},
		"text for a number":    {"GET", "/v1/pools", 200, json, `{"pools":[` + strings.Replace(pool, `"min":1`, `"min":"1"`, 1) + `]}`, "min"},
		"a fraction":           {"GET", "/v1/pools", 200, json, `{"pools":[` + strings.Replace(pool, `"min":1`, `"min":1.5`, 1) + `]}`, "min"},
		"a time":               {"GET", "/v1/checkpoints/ck-aaaaaaaaaaaaaaaa", 200, json, strings.Replace(checkpoint, "T07", " 07", 1), "created_at"},
		"an id":                {"GET", "/v1/checkpoints/ck-aaaaaaaaaaaaaaaa", 200, json, strings.Replace(checkpoint, "ck-a", "ck-1", 1), "id"},
		"an unknown code":      {"GET", "/v1/pools", 503, json, `{"status":503,"code":"away","message":"m"}`, "code"},
		"a word":               {"GET", output, 200, lines, `{"position":0,"stream":"stdin"}`, "stream"},
		"no base64":            {"GET", output, 200, lines, `{"position":0,"data":"*"}`, "data"},
		"the second line":      {"GET", output, 200, lines, `{"position":0}` + "\n" + `{"position":"0"}`, "position"},
		"half a line":          {"GET", output, 200, lines, `{"position":0}` + "\n" + `{"posi`, "read value"},
		"another text":         {"GET", "/healthz", 200, plain, "no\n", "ok"},
		"a checkpoint (valid)": {"GET", "/v1/checkpoints/ck-aaaaaaaaaaaaaaaa", 200, json, checkpoint, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.Check(exchange.method, exchange.path, exchange.status, http.Header{"Content-Type": {exchange.kind}}, []byte(exchange.body))
			if (err == nil) != (exchange.want == "") || err != nil && !strings.Contains(err.Error(), exchange.want) {
				t.Errorf("error %v, want %q", err, exchange.want)
			}
		})
	}
	left := c.Unanswered()
	if slices.Contains(left, "listPools") || slices.Contains(left, "releaseClaim") || !slices.Contains(left, "claim") {
		t.Errorf("unanswered are %v", left)
	}
}
