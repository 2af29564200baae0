package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// samplesOf are so many samples of a kind, from one millisecond on.
func samplesOf(k kind, tier wire.Tier, n int, each time.Duration) (all []sample) {
	for i := range n {
		took := time.Duration(i+1) * each
		all = append(all, sample{kind: k, tier: tier, claim: took, command: took + 5*time.Millisecond, phases: &wire.Phases{Sentry: 300, UserSpace: 20, Ready: 7}})
	}
	return all
}

// TestGolden compares what the reports print, for several widths and without one, with the golden files; -update writes them.
func TestGolden(t *testing.T) {
	machine := Machine{CPU: "Example Processor 9000 @ 2.00GHz", Cores: 8, Kernel: "6.12.0-example", Runsc: "release-20260112.0", Platform: "systrap", Containerd: "v2.4.2", Load: "0.12", Date: "2026-11-28"}
	exec := ExecsReport{Ratio: 61, Machine: machine}
	times := make([]time.Duration, 200)
	for i := range times {
		times[i] = time.Duration(i+1) * 100 * time.Microsecond
	}
	for _, w := range slices.Concat(Execs{Ctr: "ctr"}.commands("sandpool", wire.Claim{}), Execs{}.questions("c1", 1)) {
		exec.Rows = append(exec.Rows, ExecRow{newRow(w.name, slices.Clone(times)), w.means})
	}
	reports := []interface {
		Write(w io.Writer, s table.Screen) error
	}{
		newReport(slices.Concat(samplesOf(kindWarm, wire.TierPaused, 200, time.Millisecond/4), samplesOf(kindRestored, wire.TierCold, 1, 0), samplesOf(kindCold, wire.TierCold, 6, 300*time.Millisecond)), 1, machine),
		exec,
		FilesReport{MiB: 1024, Machine: machine, Rows: []FileRow{{"in", 1200.4, 900, 133.4}, {"out", 99.9, 1111, 9}}},
		ColdReport{Rounds: 10, Machine: machine, Rows: []ColdRow{
			newColdRow(Scenarios[0], "default", samplesOf(kindCold, wire.TierCold, 10, 40*time.Millisecond)),
			newColdRow(Scenarios[1], "a-template-with-a-long-name", samplesOf(kindCold, wire.TierPaused, 3, time.Second)),
			newColdRow(Scenarios[4], "default", samplesOf(kindTemplate, wire.TierTemplate, 10, 10*time.Millisecond)),
		}},
	}
	for _, width := range []int{0, 60, 80, 200} {
		var got strings.Builder
		for _, r := range reports {
			if err := r.Write(&got, table.Screen{Width: width}); err != nil {
				t.Error(err)
			}
			got.WriteString("\n")
		}
		path := filepath.Join("testdata", fmt.Sprintf("width-%d.golden", width))
		if *update {
			if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || got.String() != string(want) {
			t.Errorf("%s: %v, got\n%s", path, err, got.String())
		}
	}
}
