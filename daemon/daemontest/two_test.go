package daemontest

import (
	"fmt"
	"strings"
	"testing"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// TestTwoDaemons starts a second daemon in the namespace of one that runs, with and without a state folder of its own: it is
// refused, and the first one's claim lives on. A first one that was killed is in nobody's way.
func TestTwoDaemons(t *testing.T) {
	cfg, other := testConfig(t, 1, 1), testConfig(t, 1, 1)
	program, file := realDaemon(t), writeConfig(t, cfg)
	first := spawn(t, program, file, cfg.Daemon.Socket)
	d := &client.Client{Socket: cfg.Daemon.Socket}
	defer d.Close()
	c := claim(t, d, wire.ClaimRequest{})
	same := other
	same.Daemon.StateDir = cfg.Daemon.StateDir
	holder := fmt.Sprintf("another sandpoold (process %d) has it", first.Pid())
	for mend, second := range map[string]configs.Config{"set daemon.state_dir": same, "set containerd.namespace": other} {
		if why := failToStart(t, second); !strings.Contains(why, holder) || !strings.Contains(why, mend) {
			t.Errorf("error %q does not say %q and %q", why, holder, mend)
		}
	}
	checkAlive(t, d, c)
	first.Kill()
	start(t, other)
}
