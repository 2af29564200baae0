package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

// Report is the result of a benchmark. Times are in milliseconds.
type Report struct {
	Rows          []Row    `json:"rows"`
	Apart         int      `json:"apart"`                                  // claims that were not served the way they were meant
	WarmRatio     *float64 `json:"warm_to_cold_percent,omitempty"`         // p50 to p50
	RestoredRatio *float64 `json:"restored_to_cold_percent,omitempty"`     // p50 to p50
	CommandRatio  *float64 `json:"warm_to_cold_command_percent,omitempty"` // p50 to p50
	RequestRatio  *float64 `json:"warm_to_cold_request_percent,omitempty"` // p50 to p50
	Concurrency   int      `json:"concurrency"`
	Machine       Machine  `json:"machine"`
}

// Row sums up the samples of one kind.
type Row struct {
	Kind string  `json:"kind"`
	N    int     `json:"n"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

func newReport(samples []sample, concurrency int, m Machine) Report {
	r := Report{Concurrency: concurrency, Machine: m, Apart: len(samples)}
	times := map[string][]time.Duration{}
	for _, s := range samples {
		if !s.asMeant() {
			continue
		}
		r.Apart--
		kind := string(s.kind)
		times[kind] = append(times[kind], s.claim)
		if s.command > 0 {
			times[kind+withCommand] = append(times[kind+withCommand], s.command)
		}
		if s.request > 0 {
			times[kind+withRequest] = append(times[kind+withRequest], s.request)
		}
	}
	for _, suffix := range []string{"", withCommand, withRequest} {
		for _, k := range []kind{kindWarm, kindRestored, kindCold} {
			if kind := string(k) + suffix; len(times[kind]) > 0 {
				r.Rows = append(r.Rows, newRow(kind, times[kind]))
			}
		}
	}
	r.WarmRatio, r.RestoredRatio = r.toCold(kindWarm, ""), r.toCold(kindRestored, "")
	r.CommandRatio, r.RequestRatio = r.toCold(kindWarm, withCommand), r.toCold(kindWarm, withRequest)
	return r
}

// What marks the rows of times that end later than the claim.
const (
	withCommand = " + command" // with the first command
	withRequest = " + request" // with the answer to the first HTTP request
)

// toCold returns the p50 of a kind as a percentage of that of a cold start, or nil if not both were measured.
func (r Report) toCold(k kind, suffix string) *float64 {
	p50 := map[string]float64{}
	for _, row := range r.Rows {
		p50[row.Kind] = row.P50
	}
	some, cold := p50[string(k)+suffix], p50[string(kindCold)+suffix]
	if some == 0 || cold == 0 {
		return nil
	}
	ratio := 100 * some / cold
	return &ratio
}

// asMeant tells whether a claim was served the way it was meant.
func (s sample) asMeant() bool {
	switch s.tier {
	case wire.TierPaused, wire.TierHot:
		return s.kind == kindWarm
	case wire.TierCold:
		return s.kind == kindCold
	case wire.TierRestored:
		return s.kind == kindRestored
	case wire.TierTemplate:
		return s.kind == kindTemplate
	default:
		return false
	}
}

func newRow(kind string, times []time.Duration) Row {
	slices.Sort(times)
	at := func(percent float64) float64 { return wire.Milliseconds(percentile(times, percent)) }
	return Row{Kind: kind, N: len(times), P50: at(50), P90: at(90), P95: at(95), P99: at(99), Max: at(100)}
}

// percentile is by nearest rank: the least of the sorted values that at least so many per cent do not exceed.
func percentile[T any](sorted []T, percent float64) T {
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// Write writes the report for people.
func (r Report) Write(w io.Writer, s table.Screen) error {
	t := table.New(table.Column{Name: "CLAIM"}, number("N", 0), number("P50 MS", 0), percentiles("P90 MS", 2), percentiles("P95 MS", 4), percentiles("P99 MS", 3), number("MAX MS", 1))
	for _, k := range r.Rows {
		t.Row(k.Kind, k.N, k.cell(50, k.P50), k.cell(90, k.P90), k.cell(95, k.P95), k.cell(99, k.P99), k.cell(100, k.Max))
	}
	var notes []string
	if r.Apart > 0 {
		notes = append(notes, fmt.Sprintf("%d left out: they were served in another way than was meant", r.Apart))
	}
	for _, ratio := range []struct {
		of      *float64
		is, was string
	}{{r.WarmRatio, "warm", "cold"}, {r.RestoredRatio, "restored", "cold"}, {r.CommandRatio, "warm" + withCommand, "cold" + withCommand}, {r.RequestRatio, "warm" + withRequest, "cold" + withRequest}} {
		if ratio.of != nil {
			notes = append(notes, fmt.Sprintf("%s p50 is %.1f %% of %s p50", ratio.is, *ratio.of, ratio.was))
		}
	}
	return write(w, s, t, append(notes, fmt.Sprintf("%d at once; %s", r.Concurrency, r.Machine))...)
}

// number is a column of numbers.
func number(name string, drop int) table.Column {
	return table.Column{Name: name, Right: true, Drop: drop}
}

// percentiles is a column of numbers that few samples do not give.
func percentiles(name string, drop int) table.Column {
	c := number(name, drop)
	c.Rare = true
	return c
}

// cell is a percentile in milliseconds; nothing if it is the largest sample for want of more.
func (r Row) cell(percent, ms float64) string {
	if !tells(r.N, percent) {
		return ""
	}
	return fmt.Sprintf("%.2f", ms)
}

// tells whether a percentile of n samples is another than the largest of them, or is meant to be that. The median always counts.
func tells(n int, percent float64) bool {
	return percent <= 50 || percent >= 100 || int(math.Ceil(percent/100*float64(n))) < n
}

// write writes a table, if there is one, and lines below it.
func write(w io.Writer, s table.Screen, t *table.Table, lines ...string) error {
	var err error
	if t != nil {
		err = t.Write(w, s)
	}
	for _, line := range lines {
		err = cmp.Or(err, table.WriteText(w, s.Width, table.Further, line))
	}
	return err
}
