package telemetry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
)

// someLabels are the labels of a daemon that has some.
var someLabels = Labels{
	Events: []string{pool.EventWarning, pool.EventKillFailed}, Reconciles: []string{"start", "sweep"}, Refusals: []string{"connection"},
	Saves: []string{"request", "expiry", "fork"},
}

func TestMetrics(t *testing.T) {
	pools := func() []pool.Overview {
		return []pool.Overview{
			{Config: pool.Config{Name: "local:a", Size: pool.Size{Target: 8, Max: 32}}, Available: 5, Running: 2, Wanted: 9, InUse: 2, Warming: 1, Total: 7, Counters: pool.Counters{Started: 9, StartsFailed: 4, Destroyed: 3, Died: 6}},
			{Config: pool.Config{Name: "local:b"}},
		}
	}
	var outage error
	m := New("v1", someLabels)
	m.Watch(Sources{
		Pools: pools, Resources: []string{"memory", "disk"}, Blocks: func(resource string) bool { return resource == "disk" },
		Claims: func() []pool.Claim {
			return []pool.Claim{
				{Grant: pool.Grant{ClaimedAt: time.Now().Add(-time.Hour)}, Pool: "local:a"},
				{Grant: pool.Grant{ClaimedAt: time.Now()}, Pool: "local:a"},
			}
		},
		Checkpoints: func() []checkpoint.Manifest { return []checkpoint.Manifest{{Bytes: 3}, {Bytes: 4}} },
		Outage:      func() error { return outage },
	})
	m.Happened(pool.EventWarning)
	m.Saved("expiry", time.Second, 5<<20, nil)
	m.Saved("request", time.Second, 0, errors.New("full"))
	m.Called("pause", time.Millisecond, nil)
	m.Called("pause", time.Second, errors.New("broken"))
	m.Called("exec", time.Second, fmt.Errorf("gone: %w", context.Canceled))
	m.Failed("a", "restore", &runtime.StepError{Step: runtime.StepPrewarm, Err: errors.New("exit code 1")})
	m.Failed("a", "restore", errors.New("broken"))
	m.Hooked(1, "delivered")
	m.NetworkAsked("denied", "sni")
	m.NetworkDialed(time.Second, errors.New("refused"))
	m.NetworkOpen(3)
	m.NetworkOpen(-1)
	m.NetworkCarried(5, 7)
	m.Died(runtime.CauseMemory)
	m.Reconciled("start", nil)
	m.Reconciled("sweep", errors.New("broken"))
	granted := pool.Claim{Grant: pool.Grant{Tier: pool.TierPaused}}
	m.Claimed("local:a", granted, ResultGranted, time.Millisecond)
	m.Claimed("local:a", granted, "repeated", time.Millisecond)
	m.Claimed("local:a", pool.Claim{}, "pool_empty", time.Second)
	m.Claimed("", pool.Claim{}, "not_found", time.Second)

	waited := pool.Phases{Schedule: time.Second, Sentry: time.Second}
	m.Started("a", pool.Started{Phases: waited})
	m.Started("a", pool.Started{Phases: waited, Restored: true})
	m.Started("a", pool.Started{Phases: waited, Restored: true})
	m.Claimed("local:a", pool.Claim{Grant: pool.Grant{Tier: pool.TierTemplate, Template: "a"}, Phases: &waited}, ResultGranted, time.Second)
	m.Claimed("local:a", pool.Claim{Grant: pool.Grant{Tier: pool.TierCold, Template: "a"}, Phases: &waited}, ResultGranted, time.Second)

	got := gather(t, m)
	if age := got["sandbox_lifetime_seconds local:a"]; age < 3600 || age > 4000 {
		t.Errorf("the oldest claim is %v s old, want an hour", age)
	}
	for series, want := range map[string]float64{
		"sandbox_warm_pool_available local:a":                5,
		"sandbox_network_requests_total sni denied":          1,
		"sandbox_network_dial_duration_seconds failed":       1,
		"sandbox_network_connections":                        2,
		"sandbox_network_bytes_total sent":                   5,
		"sandbox_network_bytes_total received":               7,
		"sandbox_warm_pool_in_use local:a":                   2,
		"sandbox_warm_pool_warming local:a":                  1,
		"sandbox_warm_pool_running local:a":                  2,
		"sandbox_warm_pool_wanted local:a":                   9,
		"sandbox_admission_blocked disk":                     1,
		"sandbox_admission_blocked memory":                   0,
		"sandbox_containerd_up":                              1,
		"sandbox_reconcile_total ok start":                   1,
		"sandbox_reconcile_total failed sweep":               1,
		"sandbox_warm_pool_size local:a":                     7,
		"sandbox_warm_pool_target local:a":                   8,
		"sandbox_warm_pool_max local:a":                      32,
		"sandbox_warm_pool_max local:b":                      0,
		"sandbox_starts_total local:a":                       9,
		"sandbox_start_failures_total local:a":               4,
		"sandbox_destroyed_total local:a":                    3,
		"sandbox_died_total local:a":                         6,
		"sandbox_deaths_total memory":                        1,
		"sandbox_deaths_total panic":                         0,
		"sandbox_claims_total local:a granted paused":        1,
		"sandbox_claims_total local:a repeated paused":       1,
		"sandbox_claims_total local:a pool_empty ":           1,
		"sandbox_claims_total  not_found ":                   1,
		"sandbox_claim_duration_seconds paused":              1,
		"sandbox_claim_duration_seconds cold":                1,
		"sandbox_cold_start_seconds schedule a":              1,
		"sandbox_cold_start_seconds sentry a":                1,
		"sandbox_cold_start_seconds total a":                 1,
		"sandbox_snapshot_start_seconds user_space a":        2,
		"sandbox_snapshot_start_seconds total a":             2,
		"sandbox_exec_duration_seconds":                      0,
		"sandbox_lifetime_seconds local:b":                   0,
		"sandbox_events_total warning":                       1,
		"sandbox_events_total kill_failed":                   0,
		"sandbox_checkpoint_duration_seconds saved expiry":   1,
		"sandbox_checkpoint_duration_seconds failed request": 1,
		"sandbox_checkpoint_duration_seconds failed fork":    0,
		"sandbox_checkpoint_size_bytes":                      1,
		"sandbox_reconcile_total failed start":               0,
		"sandbox_call_duration_seconds pause ok":             1,
		"sandbox_call_duration_seconds pause failed":         1,
		"sandbox_call_duration_seconds exec canceled":        1,
		"sandbox_failed_steps_total prewarm a":               1,
		"sandbox_failed_steps_total restore a":               1,
		"sandbox_checkpoints":                                2,
		"sandbox_checkpoint_bytes":                           7,
		"sandbox_hook_events_total 1 delivered":              1,
		"sandbox_refused_total connection":                   0,
	} {
		if value, ok := got[series]; !ok || value != want {
			t.Errorf("%s is %v (present: %t), want %v", series, value, ok, want)
		}
	}
	outage = errors.New("away")
	if up := gather(t, m)["sandbox_containerd_up"]; up != 0 {
		t.Errorf("sandbox_containerd_up is %v while containerd is away", up)
	}
}

// gather returns every sample of the registry, histograms by their count, by its name and label values.
func gather(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	samples := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			samples[series(family.GetName(), metric)] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return samples
}

func series(name string, metric *dto.Metric) string {
	for _, label := range metric.GetLabel() {
		name += " " + label.GetValue()
	}
	return name
}
