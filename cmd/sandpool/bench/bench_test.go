package bench

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

// manySpaces are those that align columns.
var manySpaces = regexp.MustCompile(`(?m) +|^ +`)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	tests := []struct {
		n       int
		percent float64
		want    time.Duration
	}{
		{1, 50, 1}, {1, 100, 1}, {2, 50, 1}, {2, 51, 2}, {3, 50, 2}, {10, 95, 10}, {20, 95, 19}, {20, 99, 20}, {100, 50, 50}, {100, 99, 99}, {100, 100, 100}, {5, 0, 1},
	}
	for _, test := range tests {
		if got := percentile(hundred[:test.n], test.percent); got != test.want {
			t.Errorf("p%v of 1…%d: %d, want %d", test.percent, test.n, got, test.want)
		}
	}
}

func TestRoundsAreInterleaved(t *testing.T) {
	tests := []struct {
		warm, cold, restored, concurrency int
		want                              string
	}{
		{4, 2, 0, 1, "w1 c1 w1 w1 c1 w1"},
		{2, 2, 0, 1, "w1 c1 w1 c1"},
		{0, 2, 0, 1, "c1 c1"},
		{3, 0, 0, 2, "w2 w1"},
		{5, 4, 0, 4, "w4 c4 w1"},
		{0, 3, 3, 1, "c1 r1 c1 r1 c1 r1"},
		{2, 2, 2, 1, "w1 r1 c1 w1 r1 c1"},
		{0, 3, 4, 2, "c2 r2 c1 r2"},
	}
	for _, test := range tests {
		var got []string
		for _, r := range (Bench{Warm: test.warm, Cold: test.cold, Restored: test.restored, Concurrency: test.concurrency}).plan() {
			got = append(got, string(r.kind[0])+string(rune('0'+r.size)))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

func TestReportKeepsKindsApart(t *testing.T) {
	r := newReport([]sample{
		{kind: kindWarm, tier: wire.TierPaused, claim: 2 * time.Millisecond, command: 9 * time.Millisecond},
		{kind: kindWarm, tier: wire.TierPaused, claim: time.Millisecond, command: 8 * time.Millisecond},
		{kind: kindWarm, tier: wire.TierPaused, claim: time.Millisecond, request: 10 * time.Millisecond},
		{kind: kindWarm, tier: wire.TierCold, claim: time.Hour},
		{kind: kindCold, tier: wire.TierCold, claim: 100 * time.Millisecond, request: 200 * time.Millisecond},
		{kind: kindRestored, tier: wire.TierRestored, claim: 40 * time.Millisecond},
		{kind: kindRestored, tier: wire.TierCold, claim: time.Hour},
		{kind: kindCold, tier: wire.TierFallback, claim: time.Hour},
	}, 1, Machine{})
	var out strings.Builder
	if err := r.Write(&out, table.Screen{}); err != nil {
		t.Error(err)
	}
	want := `CLAIM N P50 MS MAX MS
warm 3 1.00 2.00
restored 1 40.00 40.00
cold 1 100.00 100.00
warm + command 2 8.00 9.00
warm + request 1 10.00 10.00
cold + request 1 200.00 200.00
3 left out: they were served in another way than was meant
warm p50 is 1.0 % of cold p50
restored p50 is 40.0 % of cold p50
warm + request p50 is 5.0 % of cold + request p50
`
	if got := manySpaces.ReplaceAllString(out.String(), " "); !strings.HasPrefix(got, strings.TrimSpace(want)) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if r.Apart != 3 || r.WarmRatio == nil || *r.WarmRatio != 1 || r.RestoredRatio == nil || *r.RestoredRatio != 40 {
		t.Errorf("%d apart, ratios %v and %v", r.Apart, r.WarmRatio, r.RestoredRatio)
	}
}

func TestSettled(t *testing.T) {
	tests := map[string]struct {
		pool       wire.Pool
		warm, cold bool // whether it is settled for a bench with and without warm claims
	}{
		"full":                  {wire.Pool{Wanted: 8, Available: 8, Total: 8}, true, true},
		"full, some in use":     {wire.Pool{Wanted: 8, Available: 2, InUse: 6, Total: 8}, true, true},
		"larger than need be":   {wire.Pool{Wanted: 8, Available: 9, Total: 9}, true, true},
		"one short":             {wire.Pool{Wanted: 8, Available: 6, InUse: 1, Total: 7}, false, false},
		"refilling":             {wire.Pool{Wanted: 8, Available: 8, Total: 8, Warming: 1}, false, false},
		"others wait":           {wire.Pool{Wanted: 8, Available: 8, Total: 8, Waiting: 1}, false, false},
		"all in use":            {wire.Pool{Wanted: 8, InUse: 8, Total: 8}, false, true},
		"nothing is kept ready": {wire.Pool{Max: 8}, false, true},
	}
	for name, test := range tests {
		if warm, cold := settled(test.pool, true), settled(test.pool, false); warm != test.warm || cold != test.cold {
			t.Errorf("%s: settled %v for warm claims, %v without; want %v and %v", name, warm, cold, test.warm, test.cold)
		}
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel([]byte("processor\t: 0\nmodel name\t: AMD EPYC: 7\nmodel name\t: other\n")); got != "AMD EPYC: 7" {
		t.Errorf("%q", got)
	}
	if got := cpuModel([]byte("processor\t: 0\n")); got != "" {
		t.Errorf("%q", got)
	}
}

func TestColdReport(t *testing.T) {
	ms := time.Millisecond
	of := func(tier wire.Tier, took time.Duration, sentry float64) sample {
		return sample{tier: tier, claim: took, phases: &wire.Phases{Sentry: sentry, Ready: 7}}
	}
	meant := func(k kind, samples ...sample) []sample {
		for i := range samples {
			samples[i].kind = k
		}
		return samples
	}
	r := ColdReport{Rounds: 3, Rows: []ColdRow{
		newColdRow(Scenarios[0], "generic", meant(kindCold, of(wire.TierCold, 400*ms, 300), of(wire.TierCold, 200*ms, 100), of(wire.TierCold, 2000*ms, 900))),
		newColdRow(Scenarios[1], "vite", meant(kindCold, of(wire.TierCold, 3200*ms, 250), of(wire.TierPaused, time.Hour, 0))),
		newColdRow(Scenarios[4], "vite", meant(kindTemplate, of(wire.TierTemplate, 480*ms, 260))),
	}}
	var out strings.Builder
	if err := r.Write(&out, table.Screen{}); err != nil {
		t.Error(err)
	}
	want := `START TEMPLATE N P50 S BRIEF P50 P95 P99 TARGET MET
empty sandbox generic 3 0.400 1.200 2.100 3.500 1.500 yes
with dependencies vite 1 3.200 2.500 4.200 6.000 3.000 no
from a warm template vite 1 0.480 – – – – –

PHASES, P50 MS TEMPLATE schedule image sentry user space dependencies ready
empty sandbox generic 0 0 300 0 0 7
with dependencies vite 0 0 250 0 0 7
from a warm template vite 0 0 260 0 0 7

with dependencies, vite: 1 left out: they were served in another way than was meant
from a warm template, vite: p50 is 120.0 % of empty sandbox, generic
from a warm template, vite: p50 is 15.0 % of with dependencies, vite
3 rounds;`
	if got := manySpaces.ReplaceAllString(out.String(), " "); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
