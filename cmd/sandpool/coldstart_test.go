package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

func TestColdStart(t *testing.T) {
	f := newFake(t)
	plot := filepath.Join(t.TempDir(), "plot.svg")
	code, out, errOut := f.sandpool("bench", "cold-start", "--json", "--rounds", "3", "--svg", plot,
		"--empty", "default", "--deps", "snapshot", "--pool", "default", "--snapshot", "snapshot")
	var r coldReport
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s", code, err, errOut)
	}
	var rows []string
	for _, row := range r.Rows {
		rows = append(rows, row.Scenario+"/"+row.Template)
	}
	if want := []string{"empty sandbox/default", "with dependencies/snapshot", "from the warm pool/default", "from a warm template/snapshot"}; !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
	// The fake serves a cold claim of "snapshot" from its snapshot: that is not what was meant.
	if got := r.Rows[1]; got.N != 0 || got.Apart != 3 || got.Brief == nil || got.Target != 3 {
		t.Errorf("row %+v, want all three apart", got)
	}
	if got := r.Rows[3]; got.N != 3 || got.Apart != 0 || got.Phases.Sentry != 30 || got.Brief != nil {
		t.Errorf("row %+v", got)
	}
	round := []wire.Tier{wire.TierCold, wire.TierTemplate, wire.TierPaused, wire.TierTemplate}
	if want := slices.Concat(round, round, round); !slices.Equal(f.served, want) || len(f.claims) != 0 {
		t.Errorf("served %v, want %v; %d claims are left", f.served, want, len(f.claims))
	}
	wellFormed(t, plot)
}

func wellFormed(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	bars := 0
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 5 {
		t.Errorf("the plot has %d rectangles, want the ground and four bars", bars)
	}
}

func TestColdStartWantsSomethingToMeasure(t *testing.T) {
	f := newFake(t)
	for _, args := range [][]string{{}, {"--empty", "default", "--rounds", "0"}, {"extra"}} {
		if code, _, errOut := f.sandpool(append([]string{"bench", "cold-start"}, args...)...); code != exitUsage {
			t.Errorf("%v: exit %d: %s", args, code, errOut)
		}
	}
	if code, _, _ := f.sandpool("bench", "cold-start", "--empty", "unknown"); code != exitNotFound || len(f.claims) != 0 {
		t.Errorf("unknown template: exit %d", code)
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
	r := coldReport{Rounds: 3, Rows: []coldRow{
		newColdRow(scenarios[0], "generic", meant(kindCold, of(wire.TierCold, 400*ms, 300), of(wire.TierCold, 200*ms, 100), of(wire.TierCold, 2000*ms, 900))),
		newColdRow(scenarios[1], "vite", meant(kindCold, of(wire.TierCold, 3200*ms, 250), of(wire.TierPaused, time.Hour, 0))),
		newColdRow(scenarios[4], "vite", meant(kindTemplate, of(wire.TierTemplate, 480*ms, 260))),
	}}
	var out strings.Builder
	r.write(&out)
	want := `START TEMPLATE N P50 S P95 S P99 S BRIEF P50 P95 P99 TARGET MET
empty sandbox generic 3 0.400 2.000 2.000 1.200 2.100 3.500 1.500 yes
with dependencies vite 1 3.200 3.200 3.200 2.500 4.200 6.000 3.000 no
from a warm template vite 1 0.480 0.480 0.480 – – – – –

PHASES, P50 MS TEMPLATE schedule image sentry user space dependencies ready
empty sandbox generic 0 0 300 0 0 7
with dependencies vite 0 0 250 0 0 7
from a warm template vite 0 0 260 0 0 7

with dependencies, vite: 1 left out: they were served in another way than was meant
from a warm template, vite: p50 is 120.0 % of empty sandbox, generic
from a warm template, vite: p50 is 15.0 % of with dependencies, vite
3 rounds;`
	if got := fields(out.String()); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
