package daemontest

import (
	"os"
	"path/filepath"
	"testing"

	"sandpool/configs"
	"sandpool/daemon"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// warmConfig is a pythonConfig whose pool is filled from a snapshot.
func warmConfig(t *testing.T, target, most int) configs.Config {
	t.Helper()
	cfg := pythonConfig(t, target, most)
	tmpl := cfg.Templates["default"]
	tmpl.Snapshot = true
	cfg.Templates["default"] = tmpl
	return cfg
}

// snapshots returns the ids of the snapshots of templates.
func snapshots(t *testing.T, c *client.Client) []string {
	t.Helper()
	all, err := c.Checkpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, saved := range all {
		if saved.Trigger == "template" {
			ids = append(ids, saved.ID)
		}
	}
	return ids
}

func onlySnapshot(t *testing.T, c *client.Client) string {
	t.Helper()
	ids := snapshots(t, c)
	if len(ids) != 1 {
		t.Fatalf("snapshots %v, want one", ids)
	}
	return ids[0]
}

// writes is a command line that leaves something running. It writes more than a pipe takes, and tells that it got rid of it.
const writes = "(while :; do seq 20000; touch /tmp/written; sleep 1; done) & echo $! >/tmp/writes"

func TestWarmTemplate(t *testing.T) {
	cfg := warmConfig(t, 2, 6)
	tmpl := cfg.Templates["default"]
	tmpl.Prewarm, tmpl.PrewarmTimeout = []string{writes}, lifetime.Duration(patience)
	cfg.Templates["default"] = tmpl
	d := start(t, cfg)
	awaitPool(t, d.Client)
	onlySnapshot(t, d.Client)
	one, two := claim(t, d.Client, wire.ClaimRequest{}), claim(t, d.Client, wire.ClaimRequest{})
	word, first := counted(t, d.Client, one.ID)
	same, second := counted(t, d.Client, two.ID)
	if word != same || first < 1 || second < 1 || one.Tier != wire.TierPaused {
		t.Errorf("two sandboxes say %q %d and %q %d, tier %s: want both to go on from one process", word, first, same, second, one.Tier)
	}
	for _, c := range []wire.Claim{one, two} {
		checkAlive(t, d.Client, c)
		shell(t, d.Client, c.ID, "kill -0 $(cat /tmp/writes) && rm -f /tmp/written && until test -e /tmp/written; do sleep 0.1; done")
	}
	cold := claim(t, d.Client, wire.ClaimRequest{Start: wire.StartCold})
	if other, _ := counted(t, d.Client, cold.ID); other == word || cold.Tier != wire.TierCold {
		t.Errorf("a cold claim of tier %s goes on from the snapshot", cold.Tier)
	}
	if p := cold.Phases; p == nil || p.Sentry <= 0 || p.UserSpace <= 0 || p.Ready <= 0 || p.Image <= 0 {
		t.Errorf("phases of the cold start are %+v", p)
	}
}

func TestWarmTemplateOfAnEmptyPool(t *testing.T) {
	d := start(t, warmConfig(t, 0, 4))
	got := claim(t, d.Client, wire.ClaimRequest{})
	if got.Tier != wire.TierTemplate || got.Phases == nil || got.Phases.Sentry <= 0 || got.Phases.Ready != 0 || got.Checkpoint != "" {
		t.Errorf("claim %+v with phases %+v, want one that goes on from the snapshot", got, got.Phases)
	}
	onlySnapshot(t, d.Client)
}

// TestSnapshotFollowsItsTemplate shows that a snapshot is used as long as it fits, and the one before until the next is there.
func TestSnapshotFollowsItsTemplate(t *testing.T) {
	cfg := warmConfig(t, 1, 4)
	cfg.Daemon.OnStop = configs.OnStopKeep
	first := start(t, cfg)
	awaitPool(t, first.Client)
	saved := onlySnapshot(t, first.Client)
	first.finish(t)

	cfg.Daemon.OnStop = configs.OnStopRemove
	reload, next := make(chan os.Signal), cfg
	d := start(t, cfg, func(o *daemon.Options) {
		o.Reload, o.Load = reload, func() (configs.Config, error) { return next, nil }
	})
	awaitPool(t, d.Client)
	if again := onlySnapshot(t, d.Client); again != saved {
		t.Errorf("after a restart the snapshot is %s, want %s as before", again, saved)
	}
	word, _ := counted(t, d.Client, claim(t, d.Client, wire.ClaimRequest{}).ID)

	changed := cfg.Templates["default"]
	changed.Env = []string{"RELEASE=2"}
	next.Templates = map[string]configs.Template{"default": changed}
	reload <- os.Interrupt
	await(t, "another snapshot has taken its place", func() bool {
		ids := snapshots(t, d.Client)
		return len(ids) == 1 && ids[0] != saved
	})
	await(t, "claims go on from it", func() bool {
		got := claim(t, d.Client, wire.ClaimRequest{})
		other, _ := counted(t, d.Client, got.ID)
		if err := d.Release(t.Context(), got.ID); err != nil {
			t.Fatal(err)
		}
		return other != word
	})
}

func TestDamagedSnapshotIsMadeAnew(t *testing.T) {
	cfg := warmConfig(t, 1, 4)
	d := start(t, cfg)
	awaitPool(t, d.Client)
	saved := onlySnapshot(t, d.Client)
	found, err := filepath.Glob(filepath.Join(cfg.Checkpoints.Dir, saved, "*.img"))
	if err != nil || len(found) == 0 {
		t.Fatalf("files of the snapshot: %v, %v", found, err)
	}
	if err := os.Truncate(found[0], 10); err != nil {
		t.Fatal(err)
	}
	claim(t, d.Client, wire.ClaimRequest{}) // its place is filled again
	await(t, "another snapshot was made", func() bool {
		ids := snapshots(t, d.Client)
		return len(ids) == 1 && ids[0] != saved
	})
	awaitPool(t, d.Client)
	if got := claim(t, d.Client, wire.ClaimRequest{}); got.Tier != wire.TierPaused {
		t.Errorf("claim of tier %s", got.Tier)
	}
}
