package daemontest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// follow collects the events of the daemon from its start on.
func follow(t *testing.T, c *client.Client) <-chan wire.Event {
	t.Helper()
	all := make(chan wire.Event, 1024)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.Events(ctx, "", "", true, func(e wire.Event) error {
			all <- e
			return nil
		})
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return all
}

// awaitEvent takes events until one of the claim and the kind comes, and returns it.
func awaitEvent(t *testing.T, all <-chan wire.Event, claim, kind string) wire.Event {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-all:
			if e.Claim == claim && e.Kind == kind {
				return e
			}
		case <-timeout:
			t.Fatalf("claim %s: no event %s", claim, kind)
		}
	}
}

// TestLadder leads a claim of a type of a few seconds to its end, and claims what was saved of it, which is as
// old by then as the grace period was long.
func TestLadder(t *testing.T) {
	cfg := pythonConfig(t, 1, 4)
	second := lifetime.Duration(time.Second)
	cfg.Lifetimes["short"] = configs.Lifetime{Lifetime: 40 * second, Warning: 38 * second, Grace: 20 * second, Extensions: 1} // time between for a slow machine
	told := filepath.Join(t.TempDir(), "told")
	cfg.Hooks = []configs.Hook{{
		Events: []string{"warning", "killed"}, Command: []string{"/bin/sh", "-c", "cat >> " + told}, Timeout: lifetime.Duration(patience),
	}}
	d := start(t, cfg)
	events := follow(t, d.Client)
	awaitPool(t, d.Client)
	c := claim(t, d.Client, wire.ClaimRequest{Type: "short"})
	word, before := counted(t, d.Client, c.ID)
	warning := awaitEvent(t, events, c.ID, "warning")
	if actions := strings.Split(warning.Detail["actions"], ","); !slices.Equal(actions, []string{"extend", "checkpoint", "release"}) || warning.Detail["time_left"] == "" {
		t.Errorf("warning is %+v", warning)
	}
	if inside := shell(t, d.Client, c.ID, "until grep warning /run/sandpool/events; do usleep 100000; done"); !strings.Contains(inside, `"actions":["extend","checkpoint","release"]`) {
		t.Errorf("the sandbox was told %q", inside)
	}
	extended, err := d.Extend(t.Context(), c.ID)
	if err != nil || !extended.ExpiresAt.Equal(c.ExpiresAt.Add(20*time.Second)) {
		t.Errorf("extended to %s, %v; want 20 s after %s", extended.ExpiresAt, err, c.ExpiresAt)
	}
	awaitEvent(t, events, c.ID, "extended")
	_, err = d.Extend(t.Context(), c.ID)
	wantError(t, err, "conflict")
	awaitEvent(t, events, c.ID, "warning")
	awaitEvent(t, events, c.ID, "grace")
	saved := awaitEvent(t, events, c.ID, "checkpoint").Detail["checkpoint"]
	if stopped := awaitEvent(t, events, c.ID, "stopped"); !stopped.Time.Before(extended.ExpiresAt) {
		t.Errorf("stopped at %s, after the end at %s", stopped.Time, extended.ExpiresAt)
	}
	_, err = d.Extend(t.Context(), c.ID)
	wantError(t, err, "conflict")
	killed := awaitEvent(t, events, c.ID, "killed")
	if killed.Time.Before(extended.ExpiresAt) {
		t.Errorf("killed at %s, before the end at %s", killed.Time, extended.ExpiresAt)
	}
	if slices.Contains(containers(t, ""), c.Sandbox) {
		t.Error("the killed sandbox is still there")
	}

	await(t, "the hook is told of the kill", func() bool {
		lines, err := os.ReadFile(told)
		return err == nil && strings.Count(string(lines), `"kind":"warning"`) == 2 && strings.Contains(string(lines), `"kind":"killed"`)
	})
	again := claim(t, d.Client, wire.ClaimRequest{Checkpoint: saved})
	if again.Tier != wire.TierRestored || again.Checkpoint != saved {
		t.Errorf("claim from the checkpoint is %+v", again)
	}
	checkAlive(t, d.Client, again)
	if old, err := d.GetCheckpoint(t.Context(), saved); err != nil || time.Since(old.CreatedAt) < 5*time.Second {
		t.Errorf("the checkpoint is %+v, %v: too young to show whether the clock goes on from then", old, err)
	}
	checkClock(t, d.Client, again.ID)
	after, n := counted(t, d.Client, again.ID)
	if after != word || n <= before {
		t.Errorf("it counts %s %d, want %s and more than %d", after, n, word, before)
	}
}
