package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// observe leaves the claim's id as the exemplar: as a label it would make a series a claim.
func observe(histogram prometheus.Observer, took time.Duration, claim string) {
	histogram.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"claim": claim})
}

// withoutExemplars gathers the same, with no exemplars in any format.
func withoutExemplars(all prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := all.Gather()
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				if c := metric.GetCounter(); c != nil {
					c.Exemplar = nil
				}
				if h := metric.GetHistogram(); h != nil {
					h.Exemplars = nil
					for _, b := range h.GetBucket() {
						b.Exemplar = nil
					}
				}
			}
		}
		return families, err
	})
}
