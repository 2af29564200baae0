package repotest

import (
	"regexp"
	"strings"
	"testing"
)

// TestAlerts runs configs/prometheus/rules_test.yml; promtool comes from scripts/stack.sh prometheus.
func TestAlerts(t *testing.T) {
	run(t, ".build/stack/promtool", "check", "rules", "configs/prometheus/rules.yml")
	run(t, ".build/stack/promtool", "test", "rules", "configs/prometheus/rules_test.yml")
}

func TestAlertsHaveCasesAndRunbook(t *testing.T) {
	rules, runbook := read(t, "configs/prometheus/rules.yml"), read(t, "docs/runbook.md")
	alerts := found(t, `(?m)^ +- alert: (\w+)$`, rules)
	sameSets(t, "alerts", found(t, `(?m)^## (\w+)$`, runbook), alerts)
	var links []string
	for _, alert := range alerts {
		links = append(links, strings.ToLower(alert))
	}
	sameSets(t, "links to the runbook", found(t, `(?m)^ +runbook: docs/runbook\.md#(\w+)$`, rules), links)

	// Each case is one promtool test: its name, and whether it expects an alert.
	cases := map[string]bool{}
	for _, c := range regexp.MustCompile(`(?s)- alertname: (\w+)\s+eval_time: \w+\s+exp_alerts:( \[\])?`).FindAllStringSubmatch(read(t, "configs/prometheus/rules_test.yml"), -1) {
		cases[c[1]+c[2]] = true
	}
	for _, alert := range alerts {
		if !cases[alert] || !cases[alert+" []"] {
			t.Errorf("%s has a case that fires: %t, one that does not: %t", alert, cases[alert], cases[alert+" []"])
		}
		_, entry, _ := strings.Cut(runbook, "## "+alert+"\n")
		entry, _, _ = strings.Cut(entry, "\n## ")
		if !strings.Contains(entry, "\n    ") || !strings.Contains(entry, "\nCure: ") {
			t.Errorf("the runbook's entry of %s lacks a command or a cure", alert)
		}
	}
}

// TestAlertsReadMetrics shows that no rule waits for a metric that the daemon does not have.
func TestAlertsReadMetrics(t *testing.T) {
	real := found(t, `"(sandbox_[a-z_]+)"`, read(t, "daemon/telemetry/metrics.go"))
	rules := strings.ReplaceAll(read(t, "configs/prometheus/rules.yml"), "_bucket{", "{")
	for _, name := range found(t, `(?m)(?:^|[^a-z_:])(sandbox_[a-z_]+)`, rules) {
		if !strings.Contains(" "+strings.Join(real, " ")+" ", " "+name+" ") {
			t.Errorf("a rule reads %s, which the daemon does not have", name)
		}
	}
}
