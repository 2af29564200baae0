package main

import (
	"encoding/json"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

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
		warm, cold, concurrency int
		want                    string
	}{
		{4, 2, 1, "w1 c1 w1 w1 c1 w1"},
		{2, 2, 1, "w1 c1 w1 c1"},
		{0, 2, 1, "c1 c1"},
		{3, 0, 2, "w2 w1"},
		{5, 4, 4, "w4 c4 w1"},
	}
	for _, test := range tests {
		var got []string
		for _, r := range interleave(rounds(wire.StartAny, test.warm, test.concurrency), rounds(wire.StartCold, test.cold, test.concurrency)) {
			got = append(got, map[wire.Start]string{wire.StartAny: "w", wire.StartCold: "c"}[r.start]+string(rune('0'+r.size)))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

func TestReportKeepsKindsApart(t *testing.T) {
	r := newReport([]sample{
		{wire.StartAny, wire.TierPaused, 2 * time.Millisecond, 9 * time.Millisecond},
		{wire.StartAny, wire.TierPaused, time.Millisecond, 8 * time.Millisecond},
		{wire.StartAny, wire.TierCold, time.Hour, 0},
		{wire.StartCold, wire.TierCold, 100 * time.Millisecond, 0},
	}, 1, machine{})
	var out strings.Builder
	r.write(&out)
	want := `CLAIM N P50 MS P95 MS P99 MS MAX MS
warm 2 1.00 2.00 2.00 2.00
cold 1 100.00 100.00 100.00 100.00
warm + command 2 8.00 9.00 9.00 9.00
1 left out: warm claims that were started, or cold ones that were not
warm p50 is 1.0 % of cold p50
`
	if got := fields(out.String()); !strings.HasPrefix(got, strings.TrimSpace(want)) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if r.Apart != 1 || r.Ratio == nil || *r.Ratio != 1 {
		t.Errorf("%d apart, ratio %v", r.Apart, r.Ratio)
	}
}

func TestSettled(t *testing.T) {
	tests := map[string]struct {
		pool wire.Pool
		want bool
	}{
		"full":                  {wire.Pool{Wanted: 8, Available: 8, Total: 8}, true},
		"full, some in use":     {wire.Pool{Wanted: 8, Available: 2, InUse: 6, Total: 8}, true},
		"larger than need be":   {wire.Pool{Wanted: 8, Available: 9, Total: 9}, true},
		"one short":             {wire.Pool{Wanted: 8, Available: 6, InUse: 1, Total: 7}, false},
		"refilling":             {wire.Pool{Wanted: 8, Available: 8, Total: 8, Warming: 1}, false},
		"others wait":           {wire.Pool{Wanted: 8, Available: 8, Total: 8, Waiting: 1}, false},
		"all in use":            {wire.Pool{Wanted: 8, InUse: 8, Total: 8}, false},
		"nothing is kept ready": {wire.Pool{Max: 8}, false},
	}
	for name, test := range tests {
		if got := settled(test.pool); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBench(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("bench", "--warm", "3", "--cold", "2", "--exec")
	if code != 0 || errOut != "3 warm and 2 cold claims from default, 1 at once\n" {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	for _, want := range []string{`(?m)^warm +3 .*\d`, `(?m)^cold +2 `, `(?m)^warm \+ command +3 `, `(?m)^cold \+ command +2 `, `(?m)^warm p50 is [\d.]+ % of cold p50$`,
		`(?m)^1 at once; .+, \d+ cores, Linux \d.+, runsc release-1, systrap, containerd v2.4.2, \d{4}-\d\d-\d\d$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if len(f.claims) != 0 {
		t.Errorf("%d claims are left", len(f.claims))
	}
}

func TestBenchInJSON(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("bench", "--json", "--warm", "4", "--cold", "2", "--concurrency", "2")
	var r report
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s", code, err, errOut)
	}
	if len(r.Rows) != 2 || r.Rows[0].N != 4 || r.Rows[1].N != 2 || r.Apart != 0 || r.Ratio == nil || r.Concurrency != 2 || r.Machine.Cores == 0 {
		t.Errorf("report %+v", r)
	}
}

func TestBenchOfMoreAtOnceThanThePoolHolds(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("bench", "--json", "--warm", "3", "--cold", "0", "--concurrency", "3")
	var r report
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || r.Apart != 1 || r.Rows[0].N != 2 || r.Ratio != nil {
		t.Errorf("exit %d, %v, %+v: %s", code, err, r, errOut)
	}
}

func TestBenchWithoutAPool(t *testing.T) {
	f := newFake(t)
	if code, _, errOut := f.sandpool("bench", "--template", "go"); code != exitError || !strings.Contains(errOut, "template go has no pool") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if code, _, errOut := f.sandpool("bench", "--template", "go", "--warm", "0", "--cold", "1"); code != 0 {
		t.Errorf("cold only: exit %d: %s", code, errOut)
	}
}

func TestFailingBenchReleases(t *testing.T) {
	f := newFake(t)
	f.exec = func(conn net.Conn, _ io.Reader, _ wire.ExecRequest) { f.frame(conn, wire.FrameExit, 0, 0, 0, 1) }
	if code, _, errOut := f.sandpool("bench", "--exec"); code != exitError || !strings.Contains(errOut, "bench: run true: exit code 1") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if f.made != 1 || len(f.claims) != 0 {
		t.Errorf("%d claims were made, %d are left; want 1 and none", f.made, len(f.claims))
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
