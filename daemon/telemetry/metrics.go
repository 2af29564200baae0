// Package telemetry is what the daemon says of itself in figures and spans: its metrics, and its traces.
package telemetry

import (
	"net/http"
	goruntime "runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
)

// ResultGranted is the result of a claim that got a sandbox of its own. The others are for those who count them to name.
const ResultGranted = "granted"

// Metrics is what GET /metrics shows. Make it with New, and call Watch once what it reads is there.
type Metrics struct {
	registry *prometheus.Registry

	claims       *prometheus.CounterVec
	reconciles   *prometheus.CounterVec
	claimSeconds *prometheus.HistogramVec
	execSeconds  prometheus.Histogram
	coldSeconds  *prometheus.HistogramVec
	warmSeconds  *prometheus.HistogramVec
	events       *prometheus.CounterVec
	saveSeconds  *prometheus.HistogramVec
	saveBytes    prometheus.Histogram
	callSeconds  *prometheus.HistogramVec
	failedSteps  *prometheus.CounterVec
	deliveries   *prometheus.CounterVec
	deaths       *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	network      network
}

// Labels are the values that others give to labels, whose series begin at zero.
type Labels struct {
	Events     []string // kinds of events
	Reconciles []string // what asks for a reconciliation
	Refusals   []string // kinds of what is refused
	Saves      []string // what asks for the checkpoint of a claim
}

// Sources are what is read at each scrape.
type Sources struct {
	Pools       func() []pool.Overview
	Claims      func() []pool.Claim
	Checkpoints func() []checkpoint.Manifest
	Outage      func() error // why containerd is away, or nil
	Resources   []string     // that admission looks at
	Blocks      func(resource string) bool
}

// New makes the metrics that are counted, of a daemon of a version.
func New(version string, labels Labels) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		claims: counterOf("sandbox_claims_total",
			"Claims by the tier of the sandbox and by result: granted, repeated, or the code of the error.", "pool", "tier", "result"),
		reconciles: counterOf("sandbox_reconcile_total",
			"Comparisons of the pools with containerd, by what asked for them and by result: ok or failed.", "trigger", "result"),
		claimSeconds: prometheus.NewHistogramVec(native(prometheus.HistogramOpts{
			Name:    "sandbox_claim_duration_seconds",
			Help:    "Time from a claim's request to its sandbox, by the tier of the sandbox.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}), []string{"tier"}),
		execSeconds: prometheus.NewHistogram(native(prometheus.HistogramOpts{
			Name:    "sandbox_exec_duration_seconds",
			Help:    "Time from an exec's request to the end of its process.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 5, 10, 60, 300, 1800},
		})),
		coldSeconds: startHistogram("sandbox_cold_start_seconds",
			"Time of each phase of a sandbox's start from its image, and of all phases together: total. Only claims have the phase schedule."),
		warmSeconds: startHistogram("sandbox_snapshot_start_seconds",
			"Time of each phase in which a sandbox went on from the snapshot of its template, and of all phases together: total."),
		events: counterOf("sandbox_events_total",
			"What happened to claims, by kind of event: warning, extended, grace, killed, kill_failed and so on.", "kind"),
		saveSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sandbox_checkpoint_duration_seconds",
			Help:    "Time that it took to save a claim's sandbox, by what asked for it and by result: saved or failed.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"trigger", "result"}),
		saveBytes: prometheus.NewHistogram(native(prometheus.HistogramOpts{
			Name:    "sandbox_checkpoint_size_bytes",
			Help:    "Bytes on disk of each checkpoint of a claim's sandbox when it was saved.",
			Buckets: prometheus.ExponentialBuckets(1<<20, 2, 14), // to 8 GiB
		})),
		callSeconds: prometheus.NewHistogramVec(native(prometheus.HistogramOpts{
			Name:    "sandbox_call_duration_seconds",
			Help:    "Time of each call of containerd and runsc, by the call and by result: ok, failed or canceled.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}), []string{"call", "result"}),
		failedSteps: counterOf("sandbox_failed_steps_total",
			"Failures to make a template ready or to start a sandbox of it, by the step that failed.", "template", "step"),
		deliveries: counterOf("sandbox_hook_events_total",
			"Events for hooks, by the hook's place in the configuration and by outcome: delivered, failed or dropped.", "hook", "outcome"),
		deaths: counterOf("sandbox_deaths_total",
			"Sandboxes whose end by themselves was seen, by its cause: memory, panic, signal, lost, init, gofer or unknown.", "cause"),
		refusals: counterOf("sandbox_refused_total",
			"What was refused because its user, or all users, had too many at once, by kind: connection, exec, follower or claim.", "kind"),
		network: newNetwork(),
	}
	m.beginAtZero(labels)
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(version),
		m.claims, m.reconciles, m.claimSeconds, m.execSeconds, m.coldSeconds, m.warmSeconds, m.events, m.saveSeconds, m.saveBytes,
		m.callSeconds, m.failedSteps, m.deliveries, m.deaths, m.refusals,
		m.network.asked, m.network.bytes, m.network.seconds, m.network.open,
	)
	return m
}

// Watch adds the metrics that are read from s at each scrape. Call it once.
func (m *Metrics) Watch(s Sources) {
	m.registry.MustRegister(
		poolCollector{s.Pools}, claimCollector{s.Pools, s.Claims},
		checkpointGauge("sandbox_checkpoints", "Checkpoints on disk.", s.Checkpoints, func(checkpoint.Manifest) int64 { return 1 }),
		checkpointGauge("sandbox_checkpoint_bytes", "Bytes that checkpoints take on disk.", s.Checkpoints, func(m checkpoint.Manifest) int64 { return m.Bytes }),
		flag("sandbox_containerd_up", "1 while containerd answers.", nil, func() bool { return s.Outage() == nil }),
	)
	for _, resource := range s.Resources {
		m.registry.MustRegister(admissionGauge(resource, s.Blocks))
	}
}

// Handler answers with the metrics. Exemplars name claims: they are for operators.
func (m *Metrics) Handler(exemplars bool) http.Handler {
	var all prometheus.Gatherer = m.registry
	if !exemplars {
		all = withoutExemplars(all)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// counterOf makes a counter that has a series for each combination of its labels' values.
func counterOf(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// beginAtZero has series from the start that else began with the first that they count: alerts would not see that one.
func (m *Metrics) beginAtZero(labels Labels) {
	for _, tier := range []string{pool.TierHot, pool.TierPaused, pool.TierCold, pool.TierFallback, pool.TierTemplate, pool.TierRestored} {
		m.claimSeconds.WithLabelValues(tier)
	}
	for _, kind := range labels.Events {
		m.events.WithLabelValues(kind)
	}
	for _, cause := range runtime.Causes {
		m.deaths.WithLabelValues(cause)
	}
	for _, kind := range labels.Refusals {
		m.refusals.WithLabelValues(kind)
	}
	for _, trigger := range labels.Reconciles {
		for _, result := range []string{"ok", "failed"} {
			m.reconciles.WithLabelValues(trigger, result)
		}
	}
	for _, trigger := range labels.Saves {
		for _, result := range []string{"saved", "failed"} {
			m.saveSeconds.WithLabelValues(trigger, result)
		}
	}
}

func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "sandbox_build_info",
		Help:        "Always 1; its labels tell what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": goruntime.Version()},
	})
	info.Set(1)
	return info
}

// native adds a native histogram, whose buckets are 10 % apart, to the classic one. Only scrapes by protobuf show it.
func native(opts prometheus.HistogramOpts) prometheus.HistogramOpts {
	opts.NativeHistogramBucketFactor = 1.1
	opts.NativeHistogramMaxBucketNumber = 160
	opts.NativeHistogramMinResetDuration = time.Hour
	return opts
}

// startHistogram resolves the times that cold starts are aimed at: 0.5 s, 1.5 s and 3 s, and what is too long: 5 s and 8 s.
func startHistogram(name, help string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(native(prometheus.HistogramOpts{
		Name: name, Help: help,
		Buckets: []float64{.005, .01, .025, .05, .1, .2, .3, .4, .5, .75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 30, 60},
	}), []string{"template", "phase"})
}

func checkpointGauge(name, help string, all func() []checkpoint.Manifest, value func(checkpoint.Manifest) int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		sum := int64(0)
		for _, m := range all() {
			sum += value(m)
		}
		return float64(sum)
	})
}

// claimCollector reads the claims at each scrape.
type claimCollector struct {
	pools  func() []pool.Overview
	claims func() []pool.Claim
}

var lifetimeSeconds = prometheus.NewDesc("sandbox_lifetime_seconds", "Age of the oldest claim of the pool; 0 when there is none.", []string{"pool"}, nil)

// Describe implements prometheus.Collector.
func (claimCollector) Describe(ch chan<- *prometheus.Desc) { ch <- lifetimeSeconds }

// Collect implements prometheus.Collector.
func (c claimCollector) Collect(ch chan<- prometheus.Metric) {
	oldest := map[string]time.Duration{}
	for _, p := range c.pools() {
		oldest[p.Name] = 0
	}
	for _, claim := range c.claims() {
		oldest[claim.Pool] = max(oldest[claim.Pool], time.Since(claim.ClaimedAt))
	}
	for name, age := range oldest {
		ch <- prometheus.MustNewConstMetric(lifetimeSeconds, prometheus.GaugeValue, age.Seconds(), name)
	}
}

func admissionGauge(resource string, blocks func(resource string) bool) prometheus.Collector {
	return flag("sandbox_admission_blocked", "1 while nothing is started because the host has too little of the resource left.",
		prometheus.Labels{"resource": resource}, func() bool { return blocks(resource) })
}

// flag is a gauge that is 1 or 0.
func flag(name, help string, labels prometheus.Labels, is func() bool) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
		if is() {
			return 1
		}
		return 0
	})
}

// poolCollector reads the pools at each scrape.
type poolCollector struct {
	pools func() []pool.Overview
}

// poolMetric is a metric with one series a pool.
type poolMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(pool.Overview) float64
}

var poolMetrics = []poolMetric{
	gauge("sandbox_warm_pool_ready", "Sandboxes that are ready to be claimed.", func(p pool.Overview) int { return p.Available }),
	gauge("sandbox_warm_pool_available", "The older name of sandbox_warm_pool_ready.", func(p pool.Overview) int { return p.Available }),
	gauge("sandbox_warm_pool_running", "Of those ready, how many run.", func(p pool.Overview) int { return p.Running }),
	gauge("sandbox_warm_pool_in_use", "Sandboxes that are claimed.", func(p pool.Overview) int { return p.InUse }),
	gauge("sandbox_warm_pool_starting", "Sandboxes that are being started.", func(p pool.Overview) int { return p.Warming }),
	gauge("sandbox_warm_pool_warming", "The older name of sandbox_warm_pool_starting.", func(p pool.Overview) int { return p.Warming }),
	gauge("sandbox_warm_pool_size", "Sandboxes that are ready and in use.", func(p pool.Overview) int { return p.Total }),
	gauge("sandbox_warm_pool_wanted", "Sandboxes that the pool should have now.", func(p pool.Overview) int { return p.Wanted }),
	gauge("sandbox_warm_pool_target", "Sandboxes that the pool starts with and returns to.", func(p pool.Overview) int { return p.Target }),
	gauge("sandbox_warm_pool_max", "The most sandboxes that the pool may have.", func(p pool.Overview) int { return p.Max }),
	counter("sandbox_starts_total", "Sandboxes that became ready.", func(c pool.Counters) uint64 { return c.Started }),
	counter("sandbox_start_failures_total", "Starts of sandboxes that failed.", func(c pool.Counters) uint64 { return c.StartsFailed }),
	counter("sandbox_destroyed_total", "Sandboxes that were destroyed.", func(c pool.Counters) uint64 { return c.Destroyed }),
	counter("sandbox_died_total", "Sandboxes that ended by themselves.", func(c pool.Counters) uint64 { return c.Died }),
}

func gauge(name, help string, value func(pool.Overview) int) poolMetric {
	return poolMetric{
		desc: prometheus.NewDesc(name, help, []string{"pool"}, nil), kind: prometheus.GaugeValue,
		value: func(p pool.Overview) float64 { return float64(value(p)) },
	}
}

func counter(name, help string, value func(pool.Counters) uint64) poolMetric {
	return poolMetric{
		desc: prometheus.NewDesc(name, help, []string{"pool"}, nil), kind: prometheus.CounterValue,
		value: func(p pool.Overview) float64 { return float64(value(p.Counters)) },
	}
}

// Describe implements prometheus.Collector.
func (poolCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range poolMetrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c poolCollector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.pools() {
		for _, m := range poolMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(p), p.Name)
		}
	}
}
