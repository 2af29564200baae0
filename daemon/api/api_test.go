package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/pool"
)

const upgrade = "Connection: Upgrade"

// TestBadRequests has one line for each way in which a request can be wrong.
func TestBadRequests(t *testing.T) {
	ts := startServer(t)
	const claims, pools = "/v1/claims", "/v1/pools/default"
	exec := claims + "/" + runningID + "/exec"
	for name, tc := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		code, message      string // of the answer; message is a part of it
	}{
		"malformed JSON":     {"POST", claims, `{"template":`, nil, 400, "invalid_argument", "unexpected EOF"},
		"not JSON":           {"POST", claims, `template=x`, nil, 400, "invalid_argument", "invalid character"},
		"not an object":      {"POST", claims, `[1]`, nil, 400, "invalid_argument", "is a JSON array, want an object"},
		"wrong type":         {"POST", claims, `{"template": 5}`, nil, 400, "invalid_argument", "template: is a JSON number, want a string"},
		"unknown field":      {"POST", claims, `{"templat": "x"}`, nil, 400, "invalid_argument", `unknown field "templat"`},
		"two values":         {"POST", claims, `{} {}`, nil, 400, "invalid_argument", "after top-level value, after 3 bytes"},
		"trailing garbage":   {"POST", claims, `{} x`, nil, 400, "invalid_argument", "after top-level value"},
		"field in capitals":  {"POST", claims, `{"Template": "x"}`, nil, 400, "invalid_argument", `unknown field "Template"`},
		"field twice":        {"POST", claims, `{"template": "x", "wait": "1s", "template": "x"}`, nil, 400, "invalid_argument", `field "template" is given twice`},
		"null":               {"POST", claims, ` null `, nil, 400, "invalid_argument", "is JSON null, want an object"},
		"null for a drain":   {"POST", pools + "/drain", `null`, nil, 400, "invalid_argument", "is JSON null, want an object"},
		"no UTF-8":           {"POST", claims, "{\"template\": \"caf\xe9\"}", nil, 400, "invalid_argument", "template: invalid UTF-8"},
		"no UTF-8 in a list": {"POST", exec, "{\"args\": [\"touch\", \"/tmp/caf\xe9\"]}", upgradeLines(), 400, "invalid_argument", "args.1: invalid UTF-8"},
		"half a surrogate":   {"POST", claims, `{"template": "\ud800"}`, nil, 400, "invalid_argument", "template: invalid surrogate pair"},
		"deep nesting":       {"POST", claims, `{"template": ` + strings.Repeat("[", 30000), nil, 400, "invalid_argument", "exceeded max depth"},
		"body over limit":    {"POST", claims, `{"template": "` + strings.Repeat("x", wire.MaxBody) + `"}`, nil, 413, "too_large", "65536 bytes: send less"},
		"padding over limit": {"POST", claims, `{}` + strings.Repeat(" ", wire.MaxBody), nil, 413, "too_large", "65536 bytes"},
		"negative wait":      {"POST", claims, `{"wait": "-1s"}`, nil, 400, "invalid_argument", "wait: -1s: want 0s to 10m0s"},
		"wait over cap":      {"POST", claims, `{"wait": "11m"}`, nil, 400, "invalid_argument", "10m0s (limits.max_wait)"},
		"wait as a number":   {"POST", claims, `{"wait": 5}`, nil, 400, "invalid_argument", "wait: is a JSON number, want a duration as text"},
		"wait without unit":  {"POST", claims, `{"wait": "5"}`, nil, 400, "invalid_argument", "want a number and a unit"},
		"negative lifetime":  {"POST", claims, `{"lifetime": "-1s"}`, nil, 400, "invalid_argument", "lifetime: -1s"},
		"lifetime over cap":  {"POST", claims, `{"lifetime": "8d"}`, nil, 400, "invalid_argument", "7d (limits.max_lifetime)"},
		"huge lifetime":      {"POST", claims, `{"lifetime": "99999999d"}`, nil, 400, "invalid_argument", "lifetime: duration \"99999999d\": is more than 106751d"},
		"no lifetime":        {"POST", claims, `{"lifetime": "0s"}`, nil, 400, "invalid_argument", "lifetime: 0s: want more than 0s"},
		"unknown type":       {"POST", claims, `{"type": "eternal"}`, nil, 400, "invalid_argument", `type: "eternal": want one of cicd, development, preview`},

		"bad checkpoint":               {"POST", claims, `{"checkpoint": "../x"}`, nil, 400, "invalid_argument", `checkpoint id "../x"`},
		"missing checkpoint":           {"POST", claims, `{"checkpoint": "ck-zzzzzzzzzzzzzzzz"}`, nil, 404, "not_found", "checkpoint ck-zzzzzzzzzzzzzzzz does not exist"},
		"checkpoint of other template": {"POST", claims, `{"checkpoint": "` + savedID + `", "template": "go"}`, nil, 400, "invalid_argument", `is of template "default"`},
		"checkpoint and cold":          {"POST", claims, `{"checkpoint": "` + savedID + `", "start": "cold"}`, nil, 400, "invalid_argument", "checkpoint"},
		"extend missing":               {"POST", claims + "/" + missingID + "/extend", "", nil, 404, "not_found", "does not exist"},
		"extend with a field":          {"POST", claims + "/" + runningID + "/extend", `{"until": "1h"}`, nil, 400, "invalid_argument", `unknown field "until"`},
		"extend by nothing":            {"POST", claims + "/" + runningID + "/extend", `{"by": "0s"}`, nil, 400, "invalid_argument", "want more than 0s"},
		"save missing":                 {"POST", claims + "/" + missingID + "/checkpoint", "", nil, 404, "not_found", "does not exist"},
		"save with a long comment":     {"POST", claims + "/" + runningID + "/checkpoint", `{"comment": "` + strings.Repeat("x", 257) + `"}`, nil, 400, "invalid_argument", "257 bytes"},
		"fork missing":                 {"POST", claims + "/" + missingID + "/fork", "", nil, 404, "not_found", "does not exist"},
		"save with a line break":       {"POST", claims + "/" + runningID + "/checkpoint", `{"comment": "x\nck-aaaaaaaaaaaaaaaa  default"}`, nil, 400, "invalid_argument", "comment: has a line break"},
		"save with codes":              {"POST", claims + "/" + runningID + "/checkpoint", `{"comment": "x\u001b[2J"}`, nil, 400, "invalid_argument", "comment: has a line break or another control character"},
		"fork of no lifetime":          {"POST", claims + "/" + runningID + "/fork", `{"lifetime": "0s"}`, nil, 400, "invalid_argument", "lifetime: 0s"},
		"fork none":                    {"POST", claims + "/" + runningID + "/fork", `{"count": -1}`, nil, 400, "invalid_argument", "count: -1: want 1 to 64"},
		"fork too many":                {"POST", claims + "/" + runningID + "/fork", `{"count": 65}`, nil, 400, "invalid_argument", "count: 65: want 1 to 64"},
		"fork over the pool's max":     {"POST", claims + "/" + runningID + "/fork", `{"count": 33}`, nil, 400, "invalid_argument", "count: 33: pool local:default holds at most 32"},
		"checkpoint without wait":      {"POST", claims, `{"checkpoint": "` + savedID + `", "wait": "0s"}`, nil, 400, "invalid_argument", "wait: 0s"},
		"cold without wait":            {"POST", claims, `{"start": "cold", "wait": "0s"}`, nil, 400, "invalid_argument", "wait: 0s"},
		"get bad checkpoint":           {"GET", "/v1/checkpoints/x", "", nil, 400, "invalid_argument", `checkpoint id "x"`},
		"get missing checkpoint":       {"GET", "/v1/checkpoints/ck-zzzzzzzzzzzzzzzz", "", nil, 404, "not_found", "does not exist"},
		"delete missing checkpoint":    {"DELETE", "/v1/checkpoints/ck-zzzzzzzzzzzzzzzz", "", nil, 404, "not_found", "does not exist"},
		"method of checkpoints":        {"POST", "/v1/checkpoints", "", nil, 405, "method_not_allowed", "want GET"},
		"long request id":              {"POST", claims, `{"request_id": "` + strings.Repeat("x", 129) + `"}`, nil, 400, "invalid_argument", "request_id"},
		"odd request id":               {"POST", claims, `{"request_id": "a\nb"}`, nil, 400, "invalid_argument", "request_id"},
		"unknown start":                {"POST", claims, `{"start": "warm"}`, nil, 400, "invalid_argument", `want "any" or "cold"`},

		"cold fallback": {"POST", claims, `{"start": "cold", "fallback": true}`, nil, 400, "invalid_argument", "fallback"},

		"pool that is not":     {"PUT", "/v1/pools/other", `{}`, nil, 404, "not_found", "no such pool"},
		"pool of other region": {"PUT", "/v1/pools/eu:default", `{}`, nil, 404, "not_found", `no such pool: "eu:default"`},
		"pool, unknown field":  {"PUT", pools, `{"size": 3}`, nil, 400, "invalid_argument", `unknown field "size"`},
		"pool, wrong type":     {"PUT", pools, `{"target": "3"}`, nil, 400, "invalid_argument", "target: is a JSON string, want a int"},
		"pool, half a one":     {"PUT", pools, `{"target": 1.5}`, nil, 400, "invalid_argument", "target: 1.5: invalid syntax, want a whole number"},
		"pool, every fault":    {"PUT", pools, `{"target": 40, "scale_up_threshold": 0}`, nil, 400, "invalid_argument", "target must not be over max\nscale_up_threshold must be between 1 and 100 per cent"},
		"pool too large":       {"PUT", pools, `{"max": 10001}`, nil, 400, "invalid_argument", "max: 10001: want at most 10000"},
		"drain of nothing":     {"POST", "/v1/pools/other/drain", "", nil, 404, "not_found", "no such pool"},
		"drain with a field":   {"POST", pools + "/drain", `{"now": true}`, nil, 400, "invalid_argument", `unknown field "now"`},
		"method of one pool":   {"DELETE", pools, "", nil, 405, "method_not_allowed", "want PUT"},
		"method of a drain":    {"PUT", pools + "/drain", "", nil, 405, "method_not_allowed", "want POST"},

		"bad id":              {"GET", claims + "/x", "", nil, 400, "invalid_argument", `claim id "x"`},
		"id of wrong letters": {"GET", claims + "/c-AAAAAAAAAAAAAAA1", "", nil, 400, "invalid_argument", "claim id"},
		"id out of its path":  {"DELETE", claims + "/..%2F..", "", nil, 404, "not_found", "no such path"},
		"missing claim":       {"GET", claims + "/" + missingID, "", nil, 404, "not_found", "does not exist or has ended"},
		"release of missing":  {"DELETE", claims + "/" + missingID, "", nil, 404, "not_found", "does not exist or has ended"},

		"exec in missing claim":  {"POST", claims + "/" + missingID + "/exec", "{}", nil, 404, "not_found", "does not exist"},
		"exec without upgrade":   {"POST", exec, `{"args": ["true"]}`, nil, 426, "upgrade_required", "sandpool-exec/1"},
		"exec of other protocol": {"POST", exec, `{"args": ["true"]}`, []string{upgrade, "Upgrade: websocket"}, 426, "upgrade_required", "sandpool-exec/1"},
		"exec of nothing":        {"POST", exec, `{}`, upgradeLines(), 400, "invalid_argument", "args"},
		"exec of empty word":     {"POST", exec, `{"args": [""]}`, upgradeLines(), 400, "invalid_argument", "args"},
		"exec with NUL":          {"POST", exec, `{"args": ["a\u0000b"]}`, upgradeLines(), 400, "invalid_argument", "args[0]"},
		"exec with bad env":      {"POST", exec, `{"args": ["true"], "env": ["A=1", "B"]}`, upgradeLines(), 400, "invalid_argument", `env[1]: "B"`},
		"exec in relative cwd":   {"POST", exec, `{"args": ["true"], "cwd": "tmp"}`, upgradeLines(), 400, "invalid_argument", "absolute path"},
		"exec in dead claim":     {"POST", claims + "/" + deadID + "/exec", `{"args": ["true"]}`, upgradeLines(), 409, "conflict", "its init was killed"},

		"unknown path":        {"GET", "/v2/claims", "", nil, 404, "not_found", `"/v2/claims"`},
		"root":                {"GET", "/", "", nil, 404, "not_found", `"/"`},
		"path with two bars":  {"GET", "/v1//claims", "", nil, 404, "not_found", "no such path"},
		"path with a bar":     {"GET", "/v1/claims/", "", nil, 404, "not_found", "no such path"},
		"method of claims":    {"PUT", claims, "", nil, 405, "method_not_allowed", "want GET, POST"},
		"method of one claim": {"PATCH", claims + "/" + runningID, "", nil, 405, "method_not_allowed", "want DELETE, GET"},
		"method of exec":      {"GET", exec, "", nil, 405, "method_not_allowed", "want POST"},
		"method of pools":     {"DELETE", "/v1/pools", "", nil, 405, "method_not_allowed", "want GET"},
		"a browser":           {"GET", claims, "", []string{"Origin: http://example.com"}, 403, "permission_denied", "Origin"},
		"a browser's link":    {"GET", "/metrics", "", []string{"Referer: http://example.com"}, 403, "permission_denied", "Referer"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ts.do(t, tc.method, tc.path, tc.body, tc.header...)
			checkError(t, got, tc.status, tc.code, tc.message)
			if tc.status == 405 && got.header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
}

func upgradeLines() []string { return []string{upgrade, "Upgrade: " + wire.ExecProtocol} }

// checkError checks that an answer is an error of the one shape.
func checkError(t *testing.T, a answer, status int, code, message string) {
	t.Helper()
	var got wire.Error
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("answer %d %q is no wire.Error: %v", a.status, a.body, err)
	}
	if a.status != status || got.Status != status || got.Code != code || !strings.Contains(got.Message, message) {
		t.Errorf("status %d, body %s; want %d, %s, %q", a.status, a.body, status, code, message)
	}
	if strings.Contains(got.Message, configs.WarmPool) {
		t.Errorf("%s: no claim is meant to be of that type", got.Message)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	if retry := a.header.Get("Retry-After"); (retry == "1") != passes(status) {
		t.Errorf("Retry-After is %q with status %d", retry, status)
	}
}

func TestErrorsOfTheParts(t *testing.T) {
	ts := startServer(t)
	for _, tc := range []struct {
		err    error
		status int
		code   string
		want   string // the message
	}{
		{fmt.Errorf("template %q: %w", "x", errdefs.ErrNotFound), 404, "not_found", `template "x": not found`},
		{fmt.Errorf("pool x has no sandbox ready: %w", errdefs.ErrResourceExhausted), 503, "pool_empty", "pool x has no sandbox ready"},
		{fmt.Errorf("uid:1 has 2 of 2: %w", pool.ErrQuota), 429, "quota", "uid:1 has 2 of 2"},
		{fmt.Errorf("containerd: %w", errdefs.ErrUnavailable), 503, "unavailable", "containerd"},
		{fmt.Errorf("request id: %w", errdefs.ErrAlreadyExists), 409, "conflict", "request id"},
		{fmt.Errorf("state: %w", errdefs.ErrFailedPrecondition), 409, "conflict", "state"},
		{errdefs.ErrFailedPrecondition, 409, "conflict", "failed precondition"},
		{fmt.Errorf("%w: %w", errors.Join(errors.New("one"), fmt.Errorf("two: %w", errdefs.ErrConflict)), errdefs.ErrInvalidArgument), 400, "invalid_argument", "one\ntwo: conflict"},
		{fmt.Errorf("resume: %w", context.DeadlineExceeded), 504, "timeout", "resume: context deadline exceeded"},
		{fmt.Errorf("not yours: %w", errdefs.ErrPermissionDenied), 403, "permission_denied", "not yours: permission denied"},
		{fmt.Errorf("save: %w", errors.Join(ErrDiskFull, errdefs.ErrResourceExhausted)), 507, "disk_full", "save: the disk that holds checkpoints is full\nresource exhausted"},
		{errors.New("disk on fire"), 500, "internal", "disk on fire"},
	} {
		t.Run(tc.code, func(t *testing.T) {
			ts.claims.mu.Lock()
			ts.claims.err = tc.err
			ts.claims.mu.Unlock()
			got := ts.do(t, "POST", "/v1/claims", `{}`)
			checkError(t, got, tc.status, tc.code, tc.want)
			if body := fmt.Sprintf(`"message":%q}`, tc.want); !strings.Contains(got.body, body) {
				t.Errorf("%s, want %s", got.body, body)
			}
		})
	}
}

func TestClaimRequests(t *testing.T) {
	ts := startServer(t)
	for name, tc := range map[string]struct {
		body   string
		status int
		want   pool.Request
	}{
		"no body":    {``, 201, pool.Request{Template: "default", Wait: 30 * time.Second}},
		"defaults":   {`{}`, 201, pool.Request{Template: "default", Wait: 30 * time.Second}},
		"no wait":    {`{"wait": "0s"}`, 201, pool.Request{Template: "default"}},
		"all caps":   {`{"wait": "10m", "lifetime": "7d"}`, 201, pool.Request{Template: "default", Wait: 10 * time.Minute, Lifetime: lasting("development", 7*24*time.Hour)}},
		"type":       {`{"type": "cicd"}`, 201, pool.Request{Template: "default", Wait: 30 * time.Second, Kind: "cicd", Lifetime: lasting("cicd", 0)}},
		"short":      {`{"type": "cicd", "lifetime": "12m"}`, 201, pool.Request{Template: "default", Wait: 30 * time.Second, Kind: "cicd", Lifetime: lasting("cicd", 12*time.Minute)}},
		"checkpoint": {`{"checkpoint": "` + savedID + `"}`, 201, pool.Request{Template: "default", Wait: 30 * time.Second, Checkpoint: savedID}},
		"cold":       {`{"template": "t", "start": "cold"}`, 201, pool.Request{Template: "t", Cold: true, Wait: 30 * time.Second}},
		"fallback":   {`{"template": "t", "fallback": true}`, 201, pool.Request{Template: "t", Fallback: true, Wait: 30 * time.Second}},
		"repeated":   {`{"request_id": "again", "start": "any"}`, 200, pool.Request{Template: "default", RequestID: "again", Wait: 30 * time.Second}},
		"odd space":  {" \n{} \n", 201, pool.Request{Template: "default", Wait: 30 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := ts.do(t, "POST", "/v1/claims", tc.body)
			var claim wire.Claim
			if err := json.Unmarshal([]byte(answer.body), &claim); err != nil {
				t.Fatal(err)
			}
			if answer.status != tc.status || claim.ID != runningID || claim.State != wire.ClaimRunning || claim.Tier != wire.TierPaused {
				t.Errorf("status %d, claim %+v", answer.status, claim)
			}
			ts.claims.mu.Lock()
			defer ts.claims.mu.Unlock()
			got := ts.claims.last
			got.Owner, got.Begin, got.Network = "", nil, nil
			if tc.want.Kind == "" {
				tc.want.Kind = "development"
			}
			if tc.want.Lifetime == (lifetime.Type{}) {
				tc.want.Lifetime = lasting("development", 0)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("asked for %+v, want %+v", got, tc.want)
			}
		})
	}
}

// lasting is a built-in lifetime type, for claims that last for d unless that is 0.
func lasting(kind string, d time.Duration) lifetime.Type {
	t := configs.Default().Lifetimes[kind].Type()
	if d > 0 {
		t = t.Within(d)
	}
	return t
}

func TestClaimOfALostClientIsTakenBack(t *testing.T) {
	ts := startServer(t)
	under := make(chan struct{})
	ts.claims.onClaim = func(ctx context.Context) error {
		close(under)
		<-ctx.Done() // the client has gone, but the pool was quicker
		return nil
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", ts.socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /v1/claims HTTP/1.1\r\nHost: sandpool\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-under
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if id := <-ts.claims.released; id != runningID {
		t.Errorf("%s was released", id)
	}
}

func TestReleaseTwice(t *testing.T) {
	ts := startServer(t)
	if got := ts.do(t, "DELETE", "/v1/claims/"+runningID, ""); got.status != http.StatusNoContent || got.body != "" {
		t.Errorf("first release: %+v", got)
	}
	checkError(t, ts.do(t, "DELETE", "/v1/claims/"+runningID, ""), 404, "not_found", "does not exist or has ended")
}

func TestReadBacks(t *testing.T) {
	ts := startServer(t)
	for path, want := range map[string]string{
		"/v1/claims/" + runningID: `"state":"running"`,
		"/v1/claims/" + deadID:    `"state":"dead","reason":"its init was killed"`,
		"/v1/claims":              `{"claims":[{"id":"` + runningID,
		"/v1/pools":               `{"pools":[{"name":"local:default","template":"default","min":2,"target":8,"max":32,"wanted":0,"scale_up_threshold":70,"scale_down_threshold":30,"hot":0,"adaptive":false,"hold":false,"ready":5,"running":0,"in_use":2,"starting":1,"total":7`,
		"/v1/info":                `{"version":"test"`,
		"/healthz":                "ok\n",
		"/readyz":                 "ok\n",
		"/metrics":                `sandbox_warm_pool_available{pool="local:default"} 5`,
	} {
		if got := ts.do(t, "GET", path, ""); got.status != http.StatusOK || !strings.Contains(got.body, want) {
			t.Errorf("%s: %+v; want %q", path, got, want)
		}
	}
}

func TestNotReady(t *testing.T) {
	ts := startServer(t)
	ts.api.Ready = func() error { return fmt.Errorf("containerd is away: %w", errdefs.ErrUnavailable) }
	checkError(t, ts.do(t, "GET", "/readyz", ""), 503, "unavailable", "containerd is away")
	if got := ts.do(t, "GET", "/healthz", ""); got.status != http.StatusOK {
		t.Errorf("/healthz: %+v", got)
	}
}

func TestPoolChanges(t *testing.T) {
	ts := startServer(t)
	for _, tc := range []struct {
		request, body string
		want          pool.Size
	}{
		{"PUT /v1/pools/default", ``, pool.Size{Min: 2, Target: 8, Max: 32, ScaleUp: 70, ScaleDown: 30}},
		{"PUT /v1/pools/local:default", `{"target": 9}`, pool.Size{Min: 2, Target: 9, Max: 32, ScaleUp: 70, ScaleDown: 30}},
		{"PUT /v1/pools/default", `{"min": 0, "max": 10, "scale_up_threshold": 90, "scale_down_threshold": 0, "hot": 1, "adaptive": true}`,
			pool.Size{Min: 0, Target: 9, Max: 10, ScaleUp: 90, ScaleDown: 0, Hot: 1, Adaptive: true}},
		{"POST /v1/pools/default/drain", ``, pool.Size{Min: 0, Target: 9, Max: 10, ScaleUp: 90, Hot: 1, Adaptive: true, Hold: true}},
		{"PUT /v1/pools/default", `{"hold": false, "adaptive": false}`, pool.Size{Min: 0, Target: 9, Max: 10, ScaleUp: 90, Hot: 1}},
	} {
		method, path, _ := strings.Cut(tc.request, " ")
		got := ts.do(t, method, path, tc.body)
		var p wire.Pool
		if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.status != http.StatusOK || p.Target != tc.want.Target || p.Hold != tc.want.Hold {
			t.Errorf("%s %s: %+v, %v", tc.request, tc.body, got, err)
		}
		if size := ts.sizes.get(); size != tc.want {
			t.Errorf("%s %s makes it %+v, want %+v", tc.request, tc.body, size, tc.want)
		}
	}
}

// TestClaimsAreCounted by the code of what came of them. A pool that a client made up is no label.
func TestClaimsAreCounted(t *testing.T) {
	ts := startServer(t)
	for _, c := range []struct {
		body, series string
		err          error
	}{
		{`{}`, `{pool="local:default",result="granted",tier="paused"}`, nil},
		{`{"request_id":"again"}`, `{pool="local:default",result="repeated",tier="paused"}`, nil},
		{`{}`, `{pool="local:default",result="pool_empty",tier=""}`, fmt.Errorf("full: %w", errdefs.ErrResourceExhausted)},
		{`{}`, `{pool="local:default",result="internal",tier=""}`, errors.New("broken")},
		{`{"template":"made-up"}`, `{pool="",result="not_found",tier=""}`, fmt.Errorf("template: %w", errdefs.ErrNotFound)},
	} {
		ts.claims.grant = func() (pool.Claim, error) { return pool.Claim{}, c.err }
		if c.err == nil {
			ts.claims.grant = nil
		}
		ts.do(t, http.MethodPost, "/v1/claims", c.body)
		if n := ts.counted(t, "sandbox_claims_total"+c.series); n != 1 {
			t.Errorf("%s and %v: %v claims are counted as %s, want 1", c.body, c.err, n, c.series)
		}
	}
}

// TestTiersHaveSources: a tier of the pools that the API has no name for would be shown as none.
func TestTiersHaveSources(t *testing.T) {
	for _, tier := range []string{pool.TierHot, pool.TierPaused, pool.TierCold, pool.TierFallback, pool.TierTemplate, pool.TierRestored} {
		if sources[tier] == "" {
			t.Errorf("tier %q has no source", tier)
		}
	}
}
