package testhost

import (
	"testing"

	"sandpool/configs"
)

// TestConfig reads what the host's configuration says: what is the host's, what was added and what was replaced.
func TestConfig(t *testing.T) {
	h := &Host{Address: "/run/c.sock", Namespace: "ns", Runsc: "/opt/runsc", Init: "/opt/init"}
	text := h.Config(Settings{"runsc": {"path": "/opt/other"}, "reserves": NoReserves, "checkpoints": {"dir": "/a \"b\"", "max_count": 6}},
		"\n[pools.default]\ntarget = 2\nmax = 3\n")
	c, err := configs.Parse("c.toml", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if c.Daemon.OnStop != "remove" || c.Containerd.Address != h.Address || c.Containerd.Namespace != h.Namespace || c.Runsc.Path != "/opt/other" || c.Runsc.Init != h.Init {
		t.Errorf("host: %+v, %+v, %+v", c.Daemon, c.Containerd, c.Runsc)
	}
	if c.Reserves.MemoryMiB != 0 || c.Reserves.Files != 0 || c.Checkpoints.Dir != "/a \"b\"" || c.Checkpoints.MaxCount != 6 || c.Pools["default"].Max != 3 {
		t.Errorf("settings: %+v, %+v, %+v", c.Reserves, c.Checkpoints, c.Pools)
	}
}
