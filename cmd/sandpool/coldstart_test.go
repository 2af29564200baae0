package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sandpool/cmd/sandpool/bench"
	"sandpool/daemon/wire"
)

func TestColdStart(t *testing.T) {
	f := newFake(t)
	plot := filepath.Join(t.TempDir(), "plot.svg")
	code, out, errOut := f.sandpool("bench", "cold-start", "--json", "--rounds", "3", "--svg", plot,
		"--empty", "default", "--deps", "snapshot", "--pool", "default", "--snapshot", "snapshot")
	var r bench.ColdReport
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
