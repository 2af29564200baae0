package systemdtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// alertState is what an alert is about.
type alertState struct {
	begin func(t *testing.T) (id string) // brings it about; id is what the commands' $ID stands for
	shows string                         // in the output of the commands that confirm it
	away  bool                           // they fail, since nobody answers
	edit  string                         // the configuration that the cure asks for
	cured func(t *testing.T) bool
}

// alertStates are those of all alerts, on a host whose pool is default.
func alertStates(c *client.Client) map[string]alertState {
	var held wire.Claim // by the state under test
	var saved wire.Checkpoint
	claims := func(t *testing.T) {
		t.Helper()
		held = claim(t, c)
	}
	ready := func(t *testing.T) bool { return c.Ready(t.Context()) == nil }
	resized := func(t *testing.T, change wire.PoolChange) string {
		t.Helper()
		if _, err := c.ChangePool(t.Context(), "default", change); err != nil {
			t.Fatal(err)
		}
		return ""
	}
	none := 0
	return map[string]alertState{
		"HighColdStartLatency": {
			begin: func(t *testing.T) string {
				cold, err := c.Claim(t.Context(), wire.ClaimRequest{Start: wire.StartCold})
				if err != nil {
					t.Fatal(err)
				}
				release(t, c, cold)
				return ""
			},
			shows: `phase="sentry"`,
			edit:  strings.Replace(fmt.Sprintf(config, 2), "[templates.default]\n", "[templates.default]\nsnapshot = true\n", 1),
			cured: func(t *testing.T) bool {
				templates, err := c.Templates(t.Context())
				return err == nil && templates[0].Snapshot != ""
			},
		},
		"WarmPoolDepleted": {
			begin: func(t *testing.T) string { return resized(t, wire.PoolChange{Min: &none, Target: &none}) },
			shows: "local:default",
			cured: func(t *testing.T) bool { return pool(t, c).Available >= 5 },
		},
		"SandboxLifetimeExceeded": {
			begin: func(t *testing.T) string { claims(t); return held.ID },
			cured: func(t *testing.T) bool { all, err := c.List(t.Context()); return err == nil && len(all) == 0 },
		},
		"RefillStuck": {
			begin: func(t *testing.T) string {
				if _, err := c.DrainPool(t.Context(), "default"); err != nil {
					t.Fatal(err)
				}
				return ""
			},
			shows: `sandbox_admission_blocked{resource="disk"} 0`,
			cured: func(t *testing.T) bool { return pool(t, c).Available > 0 },
		},
		"HitRateLow": {
			begin: func(t *testing.T) string { claims(t); release(t, c, held); return "" },
			shows: `result="granted",tier="paused"`,
			cured: func(t *testing.T) bool { return pool(t, c).Adaptive },
		},
		"ReconcileFailing": {
			begin: func(t *testing.T) string {
				systemctl(t, "kill", "--kill-who=main", "--signal=STOP", "containerd.service")
				return ""
			},
			shows: `sandbox_reconcile_total{result="failed"`,
			cured: ready,
		},
		"KillFailing": {
			begin: func(t *testing.T) string { claims(t); return held.Sandbox },
			cured: func(t *testing.T) bool {
				got, err := c.Get(t.Context(), held.ID)
				if err != nil || got.State != wire.ClaimDead {
					return false
				}
				release(t, c, got)
				return true
			},
		},
		"DiskReserveReached": {
			begin: func(t *testing.T) string {
				claims(t)
				var err error
				saved, err = c.Checkpoint(t.Context(), held.ID, wire.CheckpointRequest{})
				if err != nil {
					t.Fatal(err)
				}
				release(t, c, held)
				return saved.ID
			},
			shows: "Filesystem",
			cured: func(t *testing.T) bool {
				all, err := c.Checkpoints(t.Context())
				return err == nil && !slices.ContainsFunc(all, func(one wire.Checkpoint) bool { return one.ID == saved.ID })
			},
		},
		"ContainerdGone": {
			begin: func(t *testing.T) string { systemctl(t, "stop", "containerd.service"); return "" },
			cured: ready,
		},
		"SandpoolDown": {
			begin: func(t *testing.T) string { systemctl(t, "stop", "sandpoold.socket", service); return "" },
			away:  true,
			cured: ready,
		},
	}
}
