package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/daemon/telemetry"
	"sandpool/daemon/templates"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/image"
)

// getAs asks the API as a user, and returns all that came.
func getAs(t *testing.T, a *api, uid uint32, method, path, accept string) string {
	t.Helper()
	server := httptest.NewUnstartedServer(a.routes())
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, actorKey{}, actor{uid: uid})
	}
	server.Start()
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// brokenCatalogue has templates that failed for a reason.
type brokenCatalogue struct {
	Catalogue
	err error
}

func (c brokenCatalogue) State(string) templates.State { return templates.State{Err: c.err} }

// TestReasonsAreForOperators has everything fail for a reason with a path and an address in it: all see that it failed, and operators why.
func TestReasonsAreForOperators(t *testing.T) {
	const secret = "/srv/secret/image.tar: https://registry.test/v2/?signature=hunter2"
	ts := newTestAPI(t)
	start := &pool.StartError{Reason: secret, Class: errdefs.ErrResourceExhausted}
	ts.claims.err = fmt.Errorf("pool local:default has no sandbox ready; the last start failed: %w", start)
	ts.api.Ready = func() error { return fmt.Errorf("pool local:default is degraded: %w", start) }
	ts.api.Pools = func() []pool.Overview {
		return []pool.Overview{{Config: pool.Config{Name: "local:default", Template: "default"}, Degraded: secret}}
	}
	ts.api.Catalogue = brokenCatalogue{err: errors.New(secret)}
	ts.api.Images = func(context.Context) ([]image.Status, error) {
		return []image.Status{{Ref: "file:///srv/secret/image.tar", State: image.Failed, Error: secret}}, nil
	}
	cfg := configs.Default()
	cfg.Templates["default"] = configs.Template{Image: "file:///srv/secret/image.tar"}
	ts.api.Config = func() *configs.Config { return &cfg }
	ts.api.Info = wire.Info{Region: "local", Warnings: []string{secret}, Canaries: []wire.Canary{{Platform: "kvm", Reason: secret}}}
	for path, seen := range map[string]string{
		"GET /v1/pools":     `"degraded":"` + operatorsSee,
		"GET /v1/templates": `"image":"file://image.tar","pool":"local:default","state":"failed","reason":"` + operatorsSee,
		"GET /v1/images":    `"image":"file://image.tar"`,
		"GET /v1/info":      `"canaries":[{"platform":"kvm","ok":false,"reason":"` + operatorsSee,
		"GET /readyz":       "pool local:default is degraded: " + operatorsSee,
		"POST /v1/claims":   "the last start failed: " + operatorsSee,
	} {
		method, path, _ := strings.Cut(path, " ")
		if body := getAs(t, ts.api, 0, method, path, ""); !strings.Contains(body, secret) {
			t.Errorf("%s: an operator gets %s", path, body)
		}
		if body := getAs(t, ts.api, 4242, method, path, ""); strings.Contains(body, "secret") || strings.Contains(body, "hunter2") || !strings.Contains(body, seen) {
			t.Errorf("%s: a user gets %s, want %s and no reason", path, body, seen)
		}
	}
	if ts.api.Info.Canaries[0].Reason != secret {
		t.Error("what a user may not see is gone for operators too")
	}
}

// TestExemplarsAreForOperators scrapes in each format that can have exemplars.
func TestExemplarsAreForOperators(t *testing.T) {
	ts := newTestAPI(t)
	ts.api.Metrics.Claimed("local:a", pool.Claim{Grant: pool.Grant{ID: "c-1", Tier: pool.TierPaused}}, telemetry.ResultGranted, time.Hour)
	ts.api.Metrics.Execed("c-2", time.Second)
	for _, accept := range []string{
		"application/openmetrics-text; version=1.0.0",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
	} {
		if body := getAs(t, ts.api, 0, "GET", "/metrics", accept); !strings.Contains(body, "c-1") || !strings.Contains(body, "c-2") {
			t.Errorf("%s: an operator gets no ids of claims", accept)
		}
		body := getAs(t, ts.api, 4242, "GET", "/metrics", accept)
		if strings.Contains(body, "c-1") || strings.Contains(body, "c-2") || !strings.Contains(body, "sandbox_claim_duration_seconds") {
			t.Errorf("%s: a user gets ids of claims, or no metrics", accept)
		}
	}
}
