package telemetry

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"sandpool/pool"
	"sandpool/runtime/checkpoint"
)

// promtool comes from scripts/stack.sh prometheus.
const promtool = "../../.build/stack/promtool"

// observed are the metrics of a daemon that served one claim and one exec.
func observed() *Metrics {
	m := New("v1", someLabels)
	m.Watch(Sources{
		Pools:  func() []pool.Overview { return []pool.Overview{{Config: pool.Config{Name: "local:a"}}} },
		Blocks: func(string) bool { return false }, Claims: func() []pool.Claim { return nil }, Outage: func() error { return nil },
		Checkpoints: func() []checkpoint.Manifest { return nil },
	})
	m.Claimed("local:a", pool.Claim{Grant: pool.Grant{ID: "c-1", Tier: pool.TierPaused}}, ResultGranted, 3*time.Millisecond)
	m.Started("a", pool.Started{})
	m.Execed("c-2", time.Second)
	return m
}

// scrape returns the metrics in the first of the formats that the request accepts.
func scrape(t *testing.T, m *Metrics, accept string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler(true).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("scrape as %q: %d %s", accept, w.Code, w.Body)
	}
	return w.Body.String()
}

func TestExemplarsNameClaims(t *testing.T) {
	m := observed()
	text := scrape(t, m, "application/openmetrics-text; version=1.0.0")
	for _, want := range []string{
		`sandbox_claim_duration_seconds_bucket{tier="paused",le="0.005"} 1 # {claim="c-1"} 0.003`,
		`sandbox_exec_duration_seconds_bucket{le="1.0"} 1 # {claim="c-2"} 1.0`,
		"# EOF\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("OpenMetrics lacks %s", want)
		}
	}
	if text := scrape(t, m, "text/plain"); strings.Contains(text, "c-1") || strings.Contains(text, "c-2") {
		t.Error("a claim's id is in the text format, which has no exemplars")
	}
}

func TestHistogramsAreNativeToo(t *testing.T) {
	families, err := observed().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	native := map[string]bool{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if h := metric.GetHistogram(); family.GetType() == dto.MetricType_HISTOGRAM && h.Schema != nil && len(h.GetBucket()) > 0 {
				native[family.GetName()] = true
			}
		}
	}
	for _, name := range []string{"sandbox_claim_duration_seconds", "sandbox_exec_duration_seconds", "sandbox_cold_start_seconds"} {
		if !native[name] {
			t.Errorf("%s is not both classic and native", name)
		}
	}
}

func TestPromtoolAcceptsMetrics(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, observed(), "text/plain"))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
