package repotest

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// dashboard is what is checked here of configs/grafana/sandpool.json; daemon/daemontest runs its queries.
type dashboard struct {
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Targets                  []struct{ Expr string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "configs/grafana/sandpool.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDashboardPanels(t *testing.T) {
	titles := map[int]string{}
	for _, p := range readDashboard(t).Panels {
		if other, taken := titles[p.ID]; taken || p.ID == 0 {
			t.Errorf("panels %q and %q both have the id %d", p.Title, other, p.ID)
		}
		titles[p.ID] = p.Title
		if p.Type != "row" && (p.Title == "" || p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d, %q, lacks a title, a description or a query", p.ID, p.Title)
		}
	}
}

// TestDashboardShowsMetrics shows that every metric of the daemon is in some panel, and that no panel reads another.
func TestDashboardShowsMetrics(t *testing.T) {
	var queries strings.Builder
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			queries.WriteString(target.Expr + "\n")
		}
	}
	series := regexp.MustCompile(`_(bucket|count|sum)\{`).ReplaceAllString(queries.String(), "{")
	shown := found(t, `(?m)(?:^|[^a-z_:])(sandbox_[a-z_]+)`, series)
	source := regexp.MustCompile(`.*"The older name of .*`).ReplaceAllString(read(t, "daemon/telemetry/metrics.go", "daemon/telemetry/network.go"), "")
	sameSets(t, "metrics of the dashboard", shown, found(t, `"(sandbox_[a-z_]+)"`, source))

	recorded := found(t, `(?m)^ +- record: (.*)$`, read(t, "configs/prometheus/rules.yml"))
	sameSets(t, "recorded series of the dashboard", found(t, `\b(\w+:\w+:\w+)`, series), recorded)
}

func TestDocsShowScrape(t *testing.T) {
	for _, shown := range found(t, "(?s)```yaml\n(rule_files:.*?)```", read(t, "docs/metrics.md")) {
		if !strings.Contains(read(t, "configs/prometheus/scrape.yml"), shown) {
			t.Errorf("configs/prometheus/scrape.yml lacks\n%s", shown)
		}
	}
}
