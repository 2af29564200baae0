package daemontest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// hidden is a secret that is searched for where it must not be.
const hidden = "s3cr3t-5f1c0b7e"

// show is a command that shows what the claim brought along.
var show = []string{"sh", "-c", `echo "$PLAIN $HIDDEN"`}

// TestWhatAClaimBringsAlong has claims with an environment, a secret, metadata and a command, of all ways that a sandbox comes by.
func TestWhatAClaimBringsAlong(t *testing.T) {
	cfg := testConfig(t, 1, 3)
	cfg.Daemon.OnStop = configs.OnStopKeep
	cfg.Daemon.MetricsAddress = freeAddress(t)
	d := start(t, cfg)
	awaitPool(t, d.Client)
	if !strings.Contains(scrape(t, cfg.Daemon.MetricsAddress), "\nsandbox_call_duration_seconds_count{call=\"supervise\",result=\"ok\"} ") {
		t.Error("a sandbox of the pool is not connected to before it is claimed")
	}
	began := time.Now()
	c := claim(t, d.Client, wire.ClaimRequest{
		Env: []string{"PLAIN=visible"}, Secrets: []string{"HIDDEN=" + hidden}, Metadata: map[string]string{"job": "17", "team/name": "ä"}, Command: show,
		Files: []wire.ClaimFile{{Path: "/tmp/one", Text: "one\n", Mode: "600"}, {Path: "/tmp/two", Content: []byte{0, 255}, User: "1234"}},
	})
	if c.Tier != wire.TierPaused || c.Given != "secrets" || c.Metadata["team/name"] != "ä" || c.Process == nil {
		t.Errorf("the claim is %+v", c)
	}
	check := func(id, want string) {
		t.Helper()
		if code, out, err := output(t.Context(), d.Client, id, "", show...); err != nil || code != 0 || out != want {
			t.Errorf("a command: exit code %d, %v, %q, want %q", code, err, out, want)
		}
		var out bytes.Buffer
		if code, err := d.Exec(t.Context(), id, wire.ExecRequest{Args: show, TTY: true, User: "1234"}, client.Stdio{Out: &out}); err != nil || code != 0 || strings.TrimSpace(out.String()) != strings.TrimSpace(want) {
			t.Errorf("a command on a terminal: exit code %d, %v, %q, want %q", code, err, out.String(), want)
		}
	}
	if _, out, err := output(t.Context(), d.Client, c.ID, "", "sh", "-c", "cat /tmp/one; wc -c </tmp/two; stat -c %a:%u /tmp/one /tmp/two"); err != nil || out != "one\n2\n600:0\n644:1234\n" {
		t.Errorf("its files: %q, %v", out, err)
	}
	both := "visible " + hidden + "\n"
	check(c.ID, both)
	text := ""
	if _, _, err := d.ProcessOutput(t.Context(), c.ID, c.Process.PID, 0, true, func(o wire.ProcessOutput) error { text += string(o.Data); return nil }); err != nil || text != both {
		t.Errorf("its command wrote %q, %v", text, err)
	}
	if _, err := d.Checkpoint(t.Context(), c.ID, wire.CheckpointRequest{}); err == nil || !strings.Contains(err.Error(), "checkpoint_secrets") {
		t.Errorf("a checkpoint with the secret in it: %v", err)
	}
	searchFor(t, cfg, c.Sandbox, began)
	d.finish(t)
	cfg.Daemon.OnStop = configs.OnStopRemove
	d = start(t, cfg)
	check(c.ID, both)
	searchFor(t, cfg, c.Sandbox, began)
	for label, want := range map[string]int{"job=17": 1, "job=18": 0, "other=17": 0} {
		if list, err := d.List(t.Context(), label); err != nil || len(list) != want {
			t.Errorf("%d claims with %s, %v", len(list), label, err)
		}
	}
	if err := d.Release(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}

	_, err := d.Claim(t.Context(), wire.ClaimRequest{Files: []wire.ClaimFile{{Path: "/proc/nothing", Text: "x"}}})
	if list, errList := d.List(t.Context()); err == nil || errList != nil || len(list) > 0 {
		t.Errorf("a file that cannot be written: %v; claims %+v, %v", err, list, errList)
	}

	cold := claim(t, d.Client, wire.ClaimRequest{Start: wire.StartCold, Env: []string{"PLAIN=cold"}})
	check(cold.ID, "cold \n")
	saved := save(t, d.Client, cold.ID, wire.CheckpointRequest{Stop: true})
	again := claim(t, d.Client, wire.ClaimRequest{Checkpoint: saved.ID, Secrets: []string{"HIDDEN=" + hidden}})
	check(again.ID, "cold "+hidden+"\n")
	if _, err := d.Fork(t.Context(), again.ID, wire.ForkRequest{}); err == nil || !strings.Contains(err.Error(), "checkpoint_secrets") {
		t.Errorf("a fork with the secret in it: %v", err)
	}
}

// searchFor looks for the secret in all that is written down about sandboxes since it was first told.
func searchFor(t *testing.T, cfg configs.Config, sandbox string, told time.Time) {
	t.Helper()
	if info := ctr(t, "containers", "info", sandbox); strings.Contains(info, hidden) {
		t.Error("containerd tells the secret")
	}
	found := 0
	for _, dir := range []string{host.Dir, cfg.Daemon.StateDir, cfg.Checkpoints.Dir} {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil //nolint:nilerr // it was removed meanwhile
			}
			if info, err := entry.Info(); err == nil && info.ModTime().Before(told.Add(-time.Second)) { // the clock of files is a coarse one
				return nil
			}
			found++
			if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(hidden)) {
				t.Errorf("%s has the secret in it", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if found == 0 {
		t.Error("no file was looked into")
	}
}
