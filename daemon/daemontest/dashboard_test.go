package daemontest

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// quiet are the panels that may be empty, by title, and why. All others must show something of a daemon that did some work.
var quiet = map[string]string{
	"Alerts":                               "no alert fires or is about to",
	"Failed steps":                         "no start fails",
	"Time to connect, p95":                 "no sandbox connects",
	"Failed calls of containerd and runsc": "no call fails",
}

// dashboard is what Prometheus is asked by configs/grafana/sandpool.json; scripts/repotest checks the rest.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct {
			Name, Type, Definition string
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	data, err := os.ReadFile("../../configs/grafana/sandpool.json")
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// variables asks for the values of the dashboard's variables and returns what puts all of them into a query, as Grafana does.
func (d dashboard) variables(t *testing.T, w watcher) *strings.Replacer {
	t.Helper()
	replace := []string{"$__rate_interval", "10m"}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		definition := strings.NewReplacer(replace...).Replace(v.Definition)
		parts := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(definition)
		if parts == nil {
			t.Fatalf("variable %s: %s: want label_values(SELECTOR, LABEL)", v.Name, definition)
		}
		r := lately()
		values, _, _, err := w.LabelValues(t.Context(), parts[2], []string{parts[1]}, r.Start, r.End)
		if err != nil || len(values) == 0 {
			t.Fatalf("variable %s: values %v, error %v", v.Name, values, err)
		}
		var texts []string
		for _, value := range values {
			texts = append(texts, string(value))
		}
		replace = append(replace, "$"+v.Name, "("+strings.Join(texts, "|")+")")
	}
	return strings.NewReplacer(replace...)
}

// use takes sandboxes through all that the dashboard shows, until the pool is full again. It returns a claim that found one waiting.
func use(t *testing.T, c *client.Client) wire.Claim {
	t.Helper()
	cold, warm := claim(t, c, wire.ClaimRequest{Start: wire.StartCold}), claim(t, c, wire.ClaimRequest{})
	checkAlive(t, c, warm)
	if _, err := c.Extend(t.Context(), warm.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context(), warm.ID, wire.CheckpointRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{cold.ID, warm.ID} {
		if err := c.Release(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	awaitPool(t, c)
	return warm
}

// TestPrometheus shows that a real Prometheus gets from a daemon at work all that the rules and the dashboard read.
func TestPrometheus(t *testing.T) {
	cfg := testConfig(t, 2, 8)
	cfg.Daemon.MetricsAddress, cfg.Daemon.MetricsExemplars = freeAddress(t), true
	cfg.Hooks = []configs.Hook{{Events: []string{configs.AllEvents}, Command: []string{"/bin/true"}, Timeout: lifetime.Duration(patience)}}
	tmpl := cfg.Templates["default"]
	tmpl.Snapshot = true
	cfg.Templates["default"] = tmpl
	p := cfg.Pools["default"]
	p.ScaleUp = 100 // each use is followed by a refill, not by a larger pool
	cfg.Pools["default"] = p
	d := start(t, cfg)
	awaitPool(t, d.Client)
	use(t, d.Client) // a rate is the growth of a counter that was there before
	classic, native := watch(t, cfg.Daemon.MetricsAddress, "exemplar-storage"), watch(t, cfg.Daemon.MetricsAddress, "native-histograms")
	used := use(t, d.Client)
	await(t, "the hit ratio is recorded", func() bool { return len(classic.query(t, "pool:sandbox_claim_hits:ratio_rate10m")) == 1 })

	t.Run("rules", func(t *testing.T) { checkRules(t, classic) })
	t.Run("exemplars", func(t *testing.T) {
		await(t, "the claim is an exemplar", func() bool { return hasExemplar(t, classic, used.ID) })
	})
	t.Run("native histograms", func(t *testing.T) {
		await(t, "the claims' histogram has a quantile", func() bool {
			return len(native.query(t, "histogram_quantile(0.95, sum by (tier) (rate(sandbox_claim_duration_seconds[10m])))")) > 0
		})
		if got := native.query(t, "sandbox_claim_duration_seconds_bucket"); len(got) > 0 {
			t.Error("there are classic buckets too: docs/metrics.md says that the native ones replace them")
		}
	})
	board := readDashboard(t)
	variables := board.variables(t, classic)
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			t.Run(panel.Title, func(t *testing.T) { checkPanel(t, classic, panel.Title, variables.Replace(target.Expr)) })
		}
	}
}

func checkRules(t *testing.T, w watcher) {
	t.Helper()
	data, err := os.ReadFile(prometheusConf + "/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	want := len(regexp.MustCompile(`(?m)^ +- (alert|record): `).FindAll(data, -1))
	await(t, "all rules are evaluated and healthy", func() bool {
		healthy := 0
		for name, err := range ruleHealth(t, w) {
			if err != "" {
				t.Fatalf("rule %s: %s", name, err)
			}
			healthy++
		}
		return healthy == want
	})
}

// ruleHealth returns the last error, or "", of each rule that was evaluated.
func ruleHealth(t *testing.T, w watcher) map[string]string {
	t.Helper()
	rules, err := w.Rules(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	health := map[string]string{}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			switch r := rule.(type) {
			case promv1.AlertingRule:
				if r.Health != promv1.RuleHealthUnknown {
					health[r.Name] = r.LastError
				}
			case promv1.RecordingRule:
				if r.Health != promv1.RuleHealthUnknown {
					health[r.Name] = r.LastError
				}
			}
		}
	}
	return health
}

func hasExemplar(t *testing.T, w watcher, claim string) bool {
	t.Helper()
	r := lately()
	series, err := w.QueryExemplars(t.Context(), "sandbox_claim_duration_seconds_bucket", r.Start, r.End)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range series {
		for _, e := range s.Exemplars {
			if string(e.Labels["claim"]) == claim {
				return true
			}
		}
	}
	return false
}

// checkPanel runs a query of a panel at an instant and over a range.
func checkPanel(t *testing.T, w watcher, title, query string) {
	t.Helper()
	if strings.Contains(query, "$") {
		t.Errorf("the dashboard has no such variable: %s", query)
	}
	_, _, _, err := w.QueryRange(t.Context(), query, lately())
	if err != nil {
		t.Errorf("%v: %s", err, query)
	}
	if _, may := quiet[title]; may {
		w.query(t, query)
		return
	}
	await(t, "there is data for "+query, func() bool { return len(w.query(t, query)) > 0 })
}
