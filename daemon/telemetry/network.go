package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// network counts what sandboxes do by their doors.
type network struct {
	asked    *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	open     prometheus.Gauge
	sent     prometheus.Counter // of bytes
	received prometheus.Counter
}

func newNetwork() network {
	n := network{
		asked: counterOf("sandbox_network_requests_total",
			"Connections and lookups that sandboxes asked for, by result, opened, denied or failed, and by the kind of rule that decided.", "result", "kind"),
		bytes: counterOf("sandbox_network_bytes_total",
			"Bytes that sandboxes sent and received.", "direction"),
		seconds: prometheus.NewHistogramVec(native(prometheus.HistogramOpts{
			Name:    "sandbox_network_dial_duration_seconds",
			Help:    "Time to resolve a name and connect to it, by result: ok or failed.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}), []string{"result"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sandbox_network_connections", Help: "Connections of sandboxes to the outside that are open or being made.",
		}),
	}
	for _, kind := range []string{"name", "address", "special", "default", "sni", "secret", "limit"} {
		n.asked.WithLabelValues("denied", kind)
	}
	n.asked.WithLabelValues("opened", "name")
	n.asked.WithLabelValues("failed", "")
	n.sent, n.received = n.bytes.WithLabelValues("sent"), n.bytes.WithLabelValues("received")
	return n
}

// NetworkAsked counts a connection or lookup that a sandbox asked for: opened, denied or failed, by the kind of rule that decided.
func (m *Metrics) NetworkAsked(result, kind string) {
	m.network.asked.WithLabelValues(result, kind).Inc()
}

// NetworkDialed tells how long it took to resolve a name and connect to it, or to fail.
func (m *Metrics) NetworkDialed(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.network.seconds.WithLabelValues(result).Observe(took.Seconds())
}

// NetworkOpen counts connections up and down.
func (m *Metrics) NetworkOpen(more int) { m.network.open.Add(float64(more)) }

// NetworkCarried counts bytes that sandboxes sent and received.
func (m *Metrics) NetworkCarried(sent, received int) {
	m.network.sent.Add(float64(sent))
	m.network.received.Add(float64(received))
}
