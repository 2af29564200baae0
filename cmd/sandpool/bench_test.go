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

	"github.com/charmbracelet/x/ansi"

	"sandpool/cmd/sandpool/bench"
	"sandpool/daemon/wire"
)

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
	for line := range strings.Lines(f.on(60, "bench --warm 1 --cold 1")) {
		if n := ansi.StringWidth(strings.TrimSpace(line)); n > 60 {
			t.Errorf("%d columns, on a terminal of 60: %s", n, line)
		}
	}
	if len(f.claims) != 0 {
		t.Errorf("%d claims are left", len(f.claims))
	}
}

func TestBenchInJSON(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("bench", "--json", "--warm", "4", "--cold", "2", "--concurrency", "2")
	var r bench.Report
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
	var r bench.Report
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
	var r bench.Report
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
