package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"sandpool/daemon/wire"
)

// report is the result of a benchmark. Times are in milliseconds.
type report struct {
	Rows        []row    `json:"rows"`
	Apart       int      `json:"apart"`                          // claims that were not served the way they were meant
	Ratio       *float64 `json:"warm_to_cold_percent,omitempty"` // p50 to p50
	Concurrency int      `json:"concurrency"`
	Machine     machine  `json:"machine"`
}

// row sums up the samples of one kind.
type row struct {
	Kind string  `json:"kind"`
	N    int     `json:"n"`
	P50  float64 `json:"p50_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

func newReport(samples []sample, concurrency int, m machine) report {
	r := report{Concurrency: concurrency, Machine: m, Apart: len(samples)}
	times := map[string][]time.Duration{}
	for _, s := range samples {
		kind := s.kind()
		if kind == "" {
			continue
		}
		r.Apart--
		times[kind] = append(times[kind], s.claim)
		if s.command > 0 {
			times[kind+" + command"] = append(times[kind+" + command"], s.command)
		}
	}
	for _, kind := range []string{"warm", "cold", "warm + command", "cold + command"} {
		if len(times[kind]) > 0 {
			r.Rows = append(r.Rows, newRow(kind, times[kind]))
		}
	}
	if len(times["warm"]) > 0 && len(times["cold"]) > 0 {
		ratio := 100 * r.Rows[0].P50 / r.Rows[1].P50
		r.Ratio = &ratio
	}
	return r
}

// kind is empty for a claim that was not served the way it was meant.
func (s sample) kind() string {
	switch {
	case s.start == wire.StartAny && (s.tier == wire.TierPaused || s.tier == wire.TierHot):
		return "warm"
	case s.start == wire.StartCold && s.tier == wire.TierCold:
		return "cold"
	default:
		return ""
	}
}

func newRow(kind string, times []time.Duration) row {
	slices.Sort(times)
	at := func(percent float64) float64 { return milliseconds(percentile(times, percent)) }
	return row{Kind: kind, N: len(times), P50: at(50), P95: at(95), P99: at(99), Max: at(100)}
}

// percentile is by nearest rank: the least of the sorted times that at least so many per cent do not exceed.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

func (r report) write(w io.Writer) {
	line(w, "CLAIM", "N", "P50 MS", "P95 MS", "P99 MS", "MAX MS")
	for _, k := range r.Rows {
		cells := []any{k.Kind, k.N}
		for _, ms := range []float64{k.P50, k.P95, k.P99, k.Max} {
			cells = append(cells, fmt.Sprintf("%.2f", ms))
		}
		line(w, cells...)
	}
	if r.Apart > 0 {
		line(w, fmt.Sprintf("%d left out: warm claims that were started, or cold ones that were not", r.Apart))
	}
	if r.Ratio != nil {
		line(w, fmt.Sprintf("warm p50 is %.1f %% of cold p50", *r.Ratio))
	}
	line(w, fmt.Sprintf("%d at once; %s", r.Concurrency, r.Machine))
}
