package daemontest

import (
	"strings"
	"testing"

	"sandpool/configs"
	"sandpool/daemon/wire"
)

// starve is a command that takes more memory than a sandbox of 128 MiB has.
var starve = []string{"sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60; tail /dev/zero"}

// TestDeathForLackOfMemory ends one sandbox for lack of memory under the daemon's eyes and one while the daemon is away: the
// command, its claim, the event, a later command and the metrics name the cause.
func TestDeathForLackOfMemory(t *testing.T) {
	cfg := testConfig(t, 2, 2)
	template := cfg.Templates["default"]
	template.MemoryMiB = 128
	cfg.Templates["default"] = template
	cfg.Daemon.OnStop = configs.OnStopKeep
	cfg.Daemon.MetricsAddress = freeAddress(t)
	d := start(t, cfg)
	seen, unseen := claim(t, d.Client, wire.ClaimRequest{}), claim(t, d.Client, wire.ClaimRequest{})
	const cause = "it was killed for lack of memory: its limit is 128 MiB (memory_mib)"
	expectDead := func(d *running, claim wire.Claim, reason string) {
		t.Helper()
		await(t, "the claim is dead", func() bool {
			got, err := d.Get(t.Context(), claim.ID)
			return err == nil && got.State == wire.ClaimDead
		})
		if got, err := d.Get(t.Context(), claim.ID); err != nil || got.Reason != reason {
			t.Errorf("claim %+v, %v; want the reason %q", got, err, reason)
		}
		_, _, err := output(t.Context(), d.Client, claim.ID, "", "true")
		if err == nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("a command gets the error %v, want one with %q", err, cause)
		}
		await(t, "the death is told", func() (told bool) { // after the claim says so
			_, err := d.Events(t.Context(), "", claim.ID, false, func(e wire.Event) error {
				told = told || e.Kind == "died" && e.Message == reason
				return nil
			})
			return told && err == nil
		})
	}
	if code, out, err := output(t.Context(), d.Client, seen.ID, "", starve...); err == nil || !strings.Contains(err.Error(), cause) {
		t.Errorf("the command ends with %d, %q, %v; want an error with %q", code, out, err, cause)
	}
	expectDead(d, seen, cause)
	wantSample(t, cfg.Daemon.MetricsAddress, `sandbox_deaths_total{cause="memory"} 1`)
	d.finish(t)

	args := append([]string{"tasks", "exec", "--exec-id", "starve", unseen.Sandbox}, starve...)
	if out, err := host.Command(t.Context(), args...).CombinedOutput(); err == nil {
		t.Errorf("ctr tasks exec: %s; want it to fail with its sandbox", out)
	}
	cfg.Daemon.OnStop = configs.OnStopRemove
	d = start(t, cfg)
	expectDead(d, unseen, "its processes ended while the daemon was away: "+cause)
}
