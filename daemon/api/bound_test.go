package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestBoundSecrets has claims bring secrets along and get others, and looks at what is kept of them.
func TestBoundSecrets(t *testing.T) {
	ts := startServer(t)
	withNetwork(ts)
	const at = "/v1/claims/" + runningID + "/network/secrets"
	secret := func(host, text string) string {
		return `{"bound_secrets":[{"name":"own","hosts":["` + host + `"],"header":"X-Key","secret":"` + text + `"}]}`
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		has                string
		kept               []string
	}{
		{"PUT", at, secret("a.test", ""), 400, "bound_secrets[0].secret", nil},
		{"PUT", at, `{}`, 400, "bound_secrets: missing", nil},
		{"PUT", at, secret("127.1", "t0ken"), 400, "127.1", nil},
		{"PUT", at, secret("a.test", "t0ken"), 200, `"mode":"door"`, []string{"key-2"}},
		{"PUT", at, secret("a.test", "t0ken"), 200, `"mode":"door"`, []string{"key-3"}},
		{"PUT", "/v1/claims/" + runningID + "/network", `{"deny":["b.test"]}`, 200, `"mode":"door"`, []string{"key-3"}},
		{"PUT", "/v1/claims/" + missingID + "/network/secrets", secret("a.test", "t0ken"), 404, "does not exist", []string{"key-3"}},
		{"PUT", "/v1/claims/" + deadID + "/network/secrets", secret("a.test", "t0ken"), 400, "network.mode", []string{"key-3"}},
		{"PUT", at, `{"bound_secrets":[]}`, 200, `"mode":"door"`, []string{"key-5"}},
		{"POST", "/v1/claims", secret("a.test", ""), 400, "bound_secrets[0].secret", []string{"key-5"}},
		{"POST", "/v1/claims", strings.Replace(secret("a.test", "t0ken"), "{", `{"request_id":"again",`, 1), 200, "", []string{"key-5"}},
		{"POST", "/v1/claims", secret("a.test", "t0ken"), http.StatusCreated, "", []string{"key-5", "key-7"}},
	} {
		got := ts.do(t, c.method, c.path, c.body)
		if got.status != c.status || !strings.Contains(got.body, c.has) || strings.Contains(got.body, "t0ken") || !slices.Equal(ts.networks.kept, c.kept) {
			t.Errorf("%s %s %s: %d %s, kept %q\nwant %d %s, %q", c.method, c.path, c.body, got.status, got.body, ts.networks.kept, c.status, c.has, c.kept)
		}
	}
	const want = `[{"mode":"door","allow":["a.test"]},{"bound":[{"name":"own","hosts":["a.test"]}],"key":"key-7"}]`
	if got, err := ts.claims.last.Network(`[{"mode":"door","allow":["a.test"]}]`); got != want || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}
