package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

// ColdReport is the result of a benchmark of cold starts. Times are in seconds, but for the phases' milliseconds.
type ColdReport struct {
	Rows    []ColdRow `json:"rows"`
	Rounds  int       `json:"rounds"`
	Machine Machine   `json:"machine"`
}

// ColdRow sums up the samples of one scenario and template.
type ColdRow struct {
	Scenario string `json:"scenario"`
	Template string `json:"template"`
	N        int    `json:"n"`
	Apart    int    `json:"apart"` // claims that were not served the way they were meant

	Spread

	Brief  *Spread     `json:"brief,omitempty"`        // what the project's brief says
	Target float64     `json:"target_p50_s,omitempty"` // what it aims at
	Phases wire.Phases `json:"phases_p50_ms,omitzero"` // the p50 of each phase by itself

	kind kind
}

func newColdRow(s Scenario, template string, samples []sample) ColdRow {
	row := ColdRow{Scenario: s.name, Template: template, Target: s.target, kind: s.kind, Apart: len(samples)}
	if s.brief != (Spread{}) {
		row.Brief = &s.brief
	}
	var times []time.Duration
	var phases []wire.Phases
	for _, one := range samples {
		if !one.asMeant() {
			continue
		}
		row.Apart--
		times = append(times, one.claim)
		if one.phases != nil {
			phases = append(phases, *one.phases)
		}
	}
	row.N = len(times)
	if row.N > 0 {
		slices.Sort(times)
		at := func(percent float64) float64 { return percentile(times, percent).Seconds() }
		row.Spread = Spread{at(50), at(95), at(99)}
	}
	for _, field := range phaseFields {
		*field.of(&row.Phases) = median(phases, field.of)
	}
	return row
}

// phaseFields are the phases in their order.
var phaseFields = []struct {
	name string
	of   func(*wire.Phases) *float64
}{
	{"schedule", func(p *wire.Phases) *float64 { return &p.Schedule }},
	{"image", func(p *wire.Phases) *float64 { return &p.Image }},
	{"sentry", func(p *wire.Phases) *float64 { return &p.Sentry }},
	{"user space", func(p *wire.Phases) *float64 { return &p.UserSpace }},
	{"dependencies", func(p *wire.Phases) *float64 { return &p.Dependencies }},
	{"ready", func(p *wire.Phases) *float64 { return &p.Ready }},
}

// median is the p50 of one phase; 0 without samples.
func median(all []wire.Phases, of func(*wire.Phases) *float64) float64 {
	if len(all) == 0 {
		return 0
	}
	values := make([]float64, len(all))
	for i := range all {
		values[i] = *of(&all[i])
	}
	slices.Sort(values)
	return percentile(values, 50)
}

// Write writes the report for people.
func (r ColdReport) Write(w io.Writer, s table.Screen) error {
	t := table.New(table.Column{Name: "START"}, table.Column{Name: "TEMPLATE", Cut: true}, number("N", 2), number("P50 S", 0), percentiles("P95 S", 3), percentiles("P99 S", 4),
		percentiles("BRIEF P50", 6), percentiles("P95", 8), percentiles("P99", 9), percentiles("TARGET", 5), table.Column{Name: "MET", Drop: 1, Rare: true})
	phases := table.New(r.phaseColumns()...)
	var notes []string
	for _, row := range r.Rows {
		brief := cmp.Or(row.Brief, &Spread{})
		t.Row(row.Scenario, row.Template, row.N, seconds(row.P50), row.cell(95, row.P95), row.cell(99, row.P99),
			seconds(brief.P50), seconds(brief.P95), seconds(brief.P99), seconds(row.Target), row.met())
		if row.Phases != (wire.Phases{}) {
			cells := []any{row.Scenario, row.Template}
			for _, field := range phaseFields {
				cells = append(cells, fmt.Sprintf("%.0f", *field.of(&row.Phases)))
			}
			phases.Row(cells...)
		}
		if row.Apart > 0 {
			notes = append(notes, fmt.Sprintf("%s, %s: %d left out: they were served in another way than was meant", row.Scenario, row.Template, row.Apart))
		}
	}
	notes = append(notes, r.ratios()...)
	return errors.Join(write(w, s, t, ""), write(w, s, phases, ""), write(w, s, nil, append(notes, fmt.Sprintf("%d rounds; %s", r.Rounds, r.Machine))...))
}

// phaseColumns are those of the table of phases, of which those of the first phases are dropped first.
func (ColdReport) phaseColumns() []table.Column {
	columns := []table.Column{{Name: "PHASES, P50 MS"}, {Name: "TEMPLATE", Cut: true}}
	for i, field := range phaseFields {
		columns = append(columns, number(field.name, len(phaseFields)-i))
	}
	return columns
}

// cell is Row's for seconds.
func (r ColdRow) cell(percent, s float64) string {
	if !tells(r.N, percent) {
		return ""
	}
	return seconds(s)
}

// seconds writes a time; 0 stands for none.
func seconds(s float64) string {
	if s == 0 {
		return ""
	}
	return strconv.FormatFloat(s, 'f', 3, 64)
}

// met says whether the target was reached at p50.
func (r ColdRow) met() string {
	switch {
	case r.Target == 0 || r.N == 0:
		return ""
	case r.P50 < r.Target:
		return "yes"
	default:
		return "no"
	}
}

// ratios compares each warm template with an empty sandbox, and what was started warm with a cold start of the same template.
func (r ColdReport) ratios() []string {
	var lines []string
	for _, row := range r.Rows {
		for _, other := range r.Rows {
			ofEmpty := row.kind == kindTemplate && other.Scenario == Scenarios[0].name
			ofItself := row.kind != kindCold && other.kind == kindCold && other.Template == row.Template
			if row.N > 0 && other.N > 0 && (ofEmpty || ofItself) {
				lines = append(lines, fmt.Sprintf("%s, %s: p50 is %.1f %% of %s, %s", row.Scenario, row.Template, 100*row.P50/other.P50, other.Scenario, other.Template))
			}
		}
	}
	return lines
}
