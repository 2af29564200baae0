package top

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"sandpool/daemon/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden compares screens of several sizes with the golden files; -update writes them.
func TestGolden(t *testing.T) {
	time.Local = time.UTC //nolint:gosmopolitan // what is shown is in local time
	l := lookAt(0, 9)
	l.Pools = append(l.Pools,
		wire.Pool{Name: "local:python", Target: 2, Wanted: 2, Max: 8, Degraded: "the last start failed: the image has no program /bin/no-such"},
		wire.Pool{Name: "local:a-template-with-a-long-name", Target: 1, Wanted: 1, Max: 1, Ready: 1, Total: 1, Hold: true})
	for i := range l.Claims {
		l.Claims[i].ID = fmt.Sprintf("c-%016d", i)
		l.Events = append(l.Events, wire.Event{Time: topStart.Add(time.Duration(i) * time.Second), Kind: "claimed", Claim: l.Claims[i].ID, Message: "claimed from local:default"})
	}
	l.Claims[1].State, l.Claims[2].Stage = wire.ClaimDead, "warned"
	for _, size := range []tea.WindowSizeMsg{{Width: 60, Height: 24}, {Width: 80, Height: 24}, {Width: 80, Height: 12}, {Width: 200, Height: 40}} {
		got := strings.Join(shown(updated(topOf(t, l), size)), "\n") + "\n"
		path := filepath.Join("testdata", fmt.Sprintf("screen-%dx%d.golden", size.Width, size.Height))
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v, got\n%s", path, err, got)
		}
	}
}
