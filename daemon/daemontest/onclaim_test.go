package daemontest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// told is a hook that notes what it is told, unless the claim asks it to fail or never to end.
const told = `case "$MODE" in
fail) printf 'no \033[31m%s' "$HIDDEN"; echo "because" >&2; exit 3;;
block) touch /tmp/began; sleep 100000;;
*) test -e /tmp/left || { sleep 100000 >/dev/null 2>&1 & echo $! >/tmp/left; }
	echo "$SANDPOOL_CLAIM $SANDPOOL_TIER $SANDPOOL_METADATA [$PLAIN$HIDDEN] $(cat /tmp/brought)" >>/tmp/told;;
esac`

// TestOnClaim has a template's hook run for claims of all ways that a sandbox comes by, and fail some of them.
func TestOnClaim(t *testing.T) {
	cfg := testConfig(t, 1, 3)
	of := cfg.Templates["default"]
	of.OnClaim, of.OnClaimTimeout = []string{"sh", "-c", told}, lifetime.Duration(patience)
	cfg.Templates["default"], cfg.Templates["calm"] = of, of
	of.OnClaim, of.OnClaimTimeout = []string{"sh", "-c", "echo slow; sleep 100000"}, lifetime.Duration(2*time.Second)
	cfg.Templates["slow"] = of
	p := cfg.Pools["default"]
	cfg.Pools["calm"] = p
	p.Hot = 1
	cfg.Pools["default"] = p
	d := start(t, cfg)
	await(t, "the pools are full", func() bool {
		return len(containers(t, "")) == 2 && len(containers(t, "hot")) == 1 && len(containers(t, "warm")) == 1
	})

	look := wire.ClaimRequest{Command: []string{"cat", "/tmp/told"}, Files: []wire.ClaimFile{{Path: "/tmp/brought", Text: "a file"}}}
	check := func(req wire.ClaimRequest, tier wire.Tier, want string) wire.Claim {
		t.Helper()
		req.Command, req.Files = look.Command, look.Files
		c := claim(t, d.Client, req)
		text := ""
		if _, _, err := d.ProcessOutput(t.Context(), c.ID, c.Process.PID, 0, true, func(o wire.ProcessOutput) error { text += string(o.Data); return nil }); err != nil {
			t.Error(err)
		}
		if want = fmt.Sprintf("%s %s %s a file\n", c.ID, tier, want); c.Tier != tier || !strings.HasSuffix(text, want) {
			t.Errorf("a claim of tier %s: its command saw that the hook noted %q, want %q", c.Tier, text, want)
		}
		return c
	}
	check(wire.ClaimRequest{}, wire.TierHot, "{} []")
	check(wire.ClaimRequest{Template: "calm", Secrets: []string{"HIDDEN=" + hidden}, Metadata: map[string]string{"job": "17"}}, wire.TierPaused, `{"job":"17"} [`+hidden+"]")
	releaseAll(t, d.Client)
	cold := check(wire.ClaimRequest{Start: wire.StartCold, Env: []string{"PLAIN=cold"}}, wire.TierCold, "{} [cold]")
	saved := save(t, d.Client, cold.ID, wire.CheckpointRequest{Stop: true})
	again := check(wire.ClaimRequest{Checkpoint: saved.ID, Env: []string{"PLAIN=again"}}, wire.TierRestored, "{} [again]")
	shell(t, d.Client, again.ID, "kill -0 $(cat /tmp/left)") // the hook of the first claim left it
	releaseAll(t, d.Client)

	fails := func(req wire.ClaimRequest, want string) {
		t.Helper()
		_, err := d.Claim(t.Context(), req)
		wantError(t, err, "on_claim_failed")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), hidden) || strings.Contains(err.Error(), "\033") {
			t.Errorf("the claim failed with %q, want %q in it", err, want)
		}
		if list, err := d.List(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("claims %+v, %v", list, err)
		}
	}
	await(t, "one is hot", func() bool { return len(containers(t, "hot")) == 1 })
	begun := containers(t, "hot")[0]
	secrets := []string{"HIDDEN=" + hidden, "MODE=fail"}
	fails(wire.ClaimRequest{Secrets: secrets, RequestID: "r"}, `on_claim of template "default": exit code 3; it wrote last: no \x1b[31m*** because`)
	fails(wire.ClaimRequest{Template: "slow"}, `on_claim of template "slow": it did not end within 2s (on_claim_timeout); it wrote last: slow`)
	await(t, "the sandboxes of claims that failed are gone", func() bool {
		all, hot, warm := containers(t, ""), containers(t, "hot"), containers(t, "warm")
		return len(hot) == 1 && len(warm) > 0 && len(all) == len(hot)+len(warm) && !slices.Contains(all, begun)
	})
	check(wire.ClaimRequest{RequestID: "r"}, wire.TierHot, "{} []") // one that failed was none
}

// TestKilledInOnClaim kills the daemon while a claim's hook runs: the claim was not answered, and must not be there afterwards.
func TestKilledInOnClaim(t *testing.T) {
	cfg := testConfig(t, 1, 2)
	file := writeConfig(t, cfg)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hooked := strings.Replace(string(text), "[templates.default]\n", "[templates.default]\non_claim_timeout = \"5m\"\non_claim = [\"sh\", \"-c\", '''"+told+"''']\n", 1)
	if err := os.WriteFile(file, []byte(hooked), 0o600); err != nil {
		t.Fatal(err)
	}
	program := realDaemon(t)
	p := spawn(t, program, file, cfg.Daemon.Socket)
	d := &client.Client{Socket: cfg.Daemon.Socket}
	defer d.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := d.Claim(context.WithoutCancel(t.Context()), wire.ClaimRequest{RequestID: "r", Env: []string{"MODE=block"}})
		failed <- err
	}()
	sandbox, looks := "", 0
	await(t, "the hook has begun", func() bool {
		looks++
		for _, sandbox = range containers(t, "claimed") {
			return host.Command(t.Context(), "tasks", "exec", "--exec-id", fmt.Sprint("look", looks), sandbox, "test", "-f", "/tmp/began").Run() == nil
		}
		return false
	})
	p.Kill()
	if err := <-failed; err == nil {
		t.Error("the claim was answered")
	}
	p = spawn(t, program, file, cfg.Daemon.Socket)
	if list, err := d.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("claims %+v, %v: their hook has not run", list, err)
	}
	if c := claim(t, d, wire.ClaimRequest{RequestID: "r"}); c.Sandbox == sandbox {
		t.Errorf("it got sandbox %s, whose hook had been broken off", sandbox)
	}
	d.Close()
	if err := p.Stop(patience); err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
	checkNothingLeft(t)
}
