package daemontest

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// TestClaimsChangedBehindTheDaemonsBack kills the real daemon. What another program did to claimed sandboxes, before that or while the
// daemon was away, costs nobody the claim without a word.
func TestClaimsChangedBehindTheDaemonsBack(t *testing.T) {
	cfg := testConfig(t, 2, 8)
	program, file := realDaemon(t), writeConfig(t, cfg)
	c := &client.Client{Socket: cfg.Daemon.Socket}
	defer c.Close()
	p := spawn(t, program, file, cfg.Daemon.Socket)
	tests := []struct {
		name         string
		before, away []string        // what ctr does with it, and when
		state        wire.ClaimState // empty: the claim has ended
		event        string
	}{
		{"left alone", nil, nil, wire.ClaimRunning, "claimed"},
		{"paused before", []string{"tasks pause"}, nil, wire.ClaimPaused, "paused"},
		{"paused while it was away", nil, []string{"tasks pause"}, wire.ClaimPaused, "paused"},
		{"paused, and resumed while it was away", []string{"tasks pause"}, []string{"tasks resume"}, wire.ClaimRunning, "paused"},
		{"killed while it was away", nil, []string{"tasks kill --signal SIGKILL"}, wire.ClaimDead, "died"},
		{"deleted while it was away", nil, []string{"tasks delete --force"}, wire.ClaimDead, "died"},
		{"removed while it was away", nil, []string{"tasks delete --force", "containers delete --keep-snapshot"}, "", "killed"},
	}
	claims := make([]wire.Claim, len(tests))
	for i := range tests {
		claims[i] = claim(t, c, wire.ClaimRequest{})
		if code, out, err := output(t.Context(), c, claims[i].ID, "", "sh", "-c", "echo "+claims[i].ID+" >/claim"); err != nil || code != 0 {
			t.Fatalf("exit code %d, %s, %v", code, out, err)
		}
	}
	change := func(sandbox string, how []string) {
		for _, what := range how {
			ctr(t, append(strings.Fields(what), sandbox)...)
		}
	}
	for i, test := range tests {
		change(claims[i].Sandbox, test.before)
		if test.before != nil {
			awaitClaimState(t, c, claims[i], wire.ClaimPaused)
		}
	}
	p.Kill()
	for i, test := range tests {
		change(claims[i].Sandbox, test.away)
	}
	p = spawn(t, program, file, cfg.Daemon.Socket)
	for i, test := range tests {
		was := claims[i]
		got, err := c.Get(t.Context(), was.ID)
		if test.state == "" {
			wantError(t, err, "not_found")
		} else if err != nil || got.State != test.state || (got.State == wire.ClaimDead) != (got.Reason != "") {
			t.Errorf("%s: claim is %+v, %v; want it %s", test.name, got, err, test.state)
		}
		await(t, test.name+": its last event is "+test.event, func() bool {
			kinds := kindsOf(t, c, was.ID)
			return kinds[len(kinds)-1] == test.event
		})
		code, out, err := output(t.Context(), c, was.ID, "", "cat", "/claim")
		if test.state == "" {
			wantError(t, err, "not_found")
		} else if test.state == wire.ClaimDead {
			wantError(t, err, "conflict")
		} else if err != nil || code != 0 || out != was.ID+"\n" {
			t.Errorf("%s: its file says %q, exit code %d, %v", test.name, out, code, err)
		}
	}
	releaseAll(t, c)
	if err := p.Stop(patience); err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
	checkNothingLeft(t)
}

// kindsOf returns the kinds of the events that are told of a claim.
func kindsOf(t *testing.T, c *client.Client, claim string) (kinds []string) {
	t.Helper()
	if _, err := c.Events(t.Context(), "", claim, false, func(e wire.Event) error {
		kinds = append(kinds, e.Kind)
		return nil
	}); err != nil || len(kinds) == 0 {
		t.Fatalf("events of %s: %v, %v", claim, kinds, err)
	}
	return kinds
}

func awaitClaimState(t *testing.T, c *client.Client, claim wire.Claim, state wire.ClaimState) {
	t.Helper()
	await(t, "the claim is "+string(state), func() bool {
		got, err := c.Get(t.Context(), claim.ID)
		return err == nil && got.State == state
	})
}

// TestUseOfAClaimThatWasPausedByHand does all that uses a sandbox, each time after another program has paused it. containerd tells the
// daemon of what ctr does, and nobody tells it of what runsc does.
func TestUseOfAClaimThatWasPausedByHand(t *testing.T) {
	cfg := testConfig(t, 1, 4)
	d := start(t, cfg)
	c := claim(t, d.Client, wire.ClaimRequest{})
	pauses := map[string]func(t *testing.T){
		"ctr": func(t *testing.T) {
			ctr(t, "tasks", "pause", c.Sandbox)
			awaitClaimState(t, d.Client, c, wire.ClaimPaused)
		},
		"ctr, a moment ago": func(t *testing.T) { ctr(t, "tasks", "pause", c.Sandbox) },
		"runsc": func(t *testing.T) {
			root := filepath.Join(cfg.Daemon.StateDir, "runsc", cfg.Containerd.Namespace)
			if out, err := exec.CommandContext(t.Context(), host.Runsc, "--root", root, "pause", c.Sandbox).CombinedOutput(); err != nil {
				t.Fatalf("runsc pause: %v: %s", err, out)
			}
		},
	}
	uses := map[string]func(ctx context.Context) (string, error){
		"exec": func(ctx context.Context) (string, error) {
			_, out, err := output(ctx, d.Client, c.ID, "", "echo", "done")
			return out, err
		},
		"exec with a terminal": func(ctx context.Context) (string, error) {
			var out bytes.Buffer
			_, err := d.Exec(ctx, c.ID, wire.ExecRequest{Args: []string{"echo", "done"}, TTY: true, Rows: 24, Cols: 80}, client.Stdio{Out: &out})
			return out.String(), err
		},
		"forward": func(ctx context.Context) (string, error) {
			conn := d.DialPort(ctx, c.ID, 1)
			defer func() { _ = conn.Close() }()
			_, err := conn.Read(make([]byte, 1))
			if err != nil && strings.Contains(err.Error(), "connection refused") {
				return "done", nil // nobody listens there, as the sandbox itself says
			}
			return "", err
		},
		"checkpoint": func(ctx context.Context) (string, error) {
			_, err := d.Checkpoint(ctx, c.ID, wire.CheckpointRequest{})
			return "done", err
		},
		"fork": func(ctx context.Context) (string, error) {
			forks, err := d.Fork(ctx, c.ID, wire.ForkRequest{Count: 1})
			for _, fork := range forks {
				checkAlive(t, d.Client, fork)
				err = d.Release(ctx, fork.ID)
			}
			return "done", err
		},
	}
	for by, pause := range pauses {
		for name, use := range uses {
			if by != "ctr" && strings.Contains("checkpoint, fork, exec with a terminal", name) {
				continue // they go the same way as the others
			}
			t.Run(name+" after a pause by "+by, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				pause(t)
				if out, err := use(ctx); err != nil || !strings.Contains(out, "done") {
					t.Errorf("%q, %v", out, err)
				}
				awaitClaimState(t, d.Client, c, wire.ClaimRunning)
			})
		}
	}
	await(t, "it is told that the claim was paused and resumed", func() bool {
		kinds := kindsOf(t, d.Client, c.ID)
		return slices.Contains(kinds, "paused") && slices.Contains(kinds, "resumed")
	})
	ctr(t, "tasks", "pause", c.Sandbox)
	saved, err := d.Checkpoint(t.Context(), c.ID, wire.CheckpointRequest{Stop: true})
	if err != nil {
		t.Error(err)
	}
	again := claim(t, d.Client, wire.ClaimRequest{Checkpoint: saved.ID})
	checkAlive(t, d.Client, again)
	ctr(t, "tasks", "pause", again.Sandbox)
	if err := d.Release(t.Context(), again.ID); err != nil {
		t.Error(err)
	}
}

// TestPoolChangedBehindTheDaemonsBack resumes what waits paused: it is never handed out.
func TestPoolChangedBehindTheDaemonsBack(t *testing.T) {
	d := start(t, testConfig(t, 1, 2))
	awaitPool(t, d.Client)
	victim := containers(t, "warm")[0]
	ctr(t, "tasks", "resume", victim)
	await(t, "it is replaced", func() bool { return !slices.Contains(containers(t, ""), victim) })
	checkAlive(t, d.Client, claim(t, d.Client, wire.ClaimRequest{}))
}
