package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"regexp"
	"slices"
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
		for _, r := range (bench{warm: test.warm, cold: test.cold, restored: test.restored, concurrency: test.concurrency}).plan() {
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
	}, 1, machine{})
	var out strings.Builder
	r.write(&out)
	want := `CLAIM N P50 MS P90 MS P95 MS P99 MS MAX MS
warm 3 1.00 2.00 2.00 2.00 2.00
restored 1 40.00 40.00 40.00 40.00 40.00
cold 1 100.00 100.00 100.00 100.00 100.00
warm + command 2 8.00 9.00 9.00 9.00 9.00
warm + request 1 10.00 10.00 10.00 10.00 10.00
cold + request 1 200.00 200.00 200.00 200.00 200.00
3 left out: they were served in another way than was meant
warm p50 is 1.0 % of cold p50
restored p50 is 40.0 % of cold p50
warm + request p50 is 5.0 % of cold + request p50
`
	if got := fields(out.String()); !strings.HasPrefix(got, strings.TrimSpace(want)) {
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

func TestBench(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("bench", "--warm", "3", "--cold", "2", "--exec")
	if code != 0 || errOut != "3 warm, 2 cold and 0 restored claims of default, 1 at once\n" {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	for _, want := range []string{`(?m)^warm +3 .*\d`, `(?m)^cold +2 `, `(?m)^warm \+ command +3 `, `(?m)^cold \+ command +2 `, `(?m)^warm p50 is [\d.]+ % of cold p50$`,
		`(?m)^1 at once; .+, \d+ cores, Linux \d.+, runsc release-1, systrap, containerd v2.4.2, load [\d.]+, \d{4}-\d\d-\d\d$`} {
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
	if len(r.Rows) != 2 || r.Rows[0].N != 4 || r.Rows[1].N != 2 || r.Apart != 0 || r.WarmRatio == nil || r.RestoredRatio != nil || r.Concurrency != 2 || r.Machine.Cores == 0 {
		t.Errorf("report %+v", r)
	}
}

func TestBenchOfMoreAtOnceThanThePoolHolds(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("bench", "--json", "--warm", "3", "--cold", "0", "--concurrency", "3")
	var r report
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || r.Apart != 1 || r.Rows[0].N != 2 || r.WarmRatio != nil {
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
	if code, _, errOut := f.sandpool("bench", "--exec"); code != exitError || !strings.Contains(errOut, `bench: run "true": exit code 1`) {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if f.made != 1 || len(f.claims) != 0 {
		t.Errorf("%d claims were made, %d are left; want 1 and none", f.made, len(f.claims))
	}
}

func TestBenchOfRestores(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("bench", "--json", "--warm", "0", "--cold", "2", "--restored", "3")
	var r report
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s", code, err, errOut)
	}
	if len(r.Rows) != 2 || r.Rows[0].Kind != "restored" || r.Rows[0].N != 3 || r.Rows[1].N != 2 || r.Apart != 0 || r.WarmRatio != nil || r.RestoredRatio == nil {
		t.Errorf("report %+v", r)
	}
	want := []wire.Tier{wire.TierPaused, wire.TierRestored, wire.TierCold, wire.TierRestored, wire.TierCold, wire.TierRestored}
	if !slices.Equal(f.served, want) || len(f.claims) != 0 {
		t.Errorf("served %v, want %v; %d claims are left", f.served, want, len(f.claims))
	}
	if f.savings != 1 || len(f.saved) != 0 {
		t.Errorf("%d checkpoints were made, %d are left; want 1 and none", f.savings, len(f.saved))
	}
}

func TestFailingBenchOfRestoresLeavesNothing(t *testing.T) {
	f := newFake(t)
	f.exec = func(conn net.Conn, _ io.Reader, _ wire.ExecRequest) { f.frame(conn, wire.FrameExit, 0, 0, 0, 1) }
	if code, _, errOut := f.sandpool("bench", "--exec", "--restored", "1"); code != exitError || !strings.Contains(errOut, `bench: run "true": exit code 1`) {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if f.savings != 1 || len(f.saved) != 0 || len(f.claims) != 0 {
		t.Errorf("%d checkpoints were made, %d and %d claims are left; want 1 and none", f.savings, len(f.saved), len(f.claims))
	}
}

// TestInterruptedBench interrupts while the checkpoint is made, and while a command runs in a sandbox.
func TestInterruptedBench(t *testing.T) {
	for name, arrange := range map[string]func(f *fakeDaemon, interrupt func()){
		"checkpoint": func(f *fakeDaemon, interrupt func()) { f.saving = interrupt },
		"command": func(f *fakeDaemon, interrupt func()) {
			f.exec = func(net.Conn, io.Reader, wire.ExecRequest) { interrupt() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			ctx, interrupt := context.WithCancel(t.Context())
			arrange(f, interrupt)
			var out, errOut bytes.Buffer
			code := run(ctx, []string{"--socket", f.socket, "bench", "--exec", "--restored", "1"}, strings.NewReader(""), &out, &errOut)
			if code != exitError || out.Len() != 0 || ctx.Err() == nil { //nolint:forbidigo // whether, not why
				t.Errorf("exit %d, printed %q: %s", code, out.String(), errOut.String())
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.savings != 1 || len(f.saved) != 0 || len(f.claims) != 0 {
				t.Errorf("%d checkpoints were made, %d and %d claims are left; want 1 and none", f.savings, len(f.saved), len(f.claims))
			}
		})
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
