package daemontest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// counter is a Python program that counts in memory and holds a file open, to which it writes each number, and a connection to
// itself, over which each goes before. It answers the question /tmp/ask with its random numbers, and draws others after SIGUSR1.
const counter = `
import os, random, secrets, signal, socket, time
random.seed(7)
signal.signal(signal.SIGUSR1, lambda *_: random.seed())
with open("/tmp/pid", "w") as f:
    f.write(str(os.getpid()))
listener = socket.create_server(("127.0.0.1", 0))
sender = socket.create_connection(listener.getsockname())
receiver, _ = listener.accept()
receiver.settimeout(60)
word = os.urandom(8).hex()
log = open("/tmp/log", "w")
n = 0
while True:
    sender.sendall(b"%d\n" % (n + 1))
    n = int(receiver.recv(100))
    log.seek(0)
    log.write("%s %d\n" % (word, n))
    log.flush()
    if os.path.exists("/tmp/ask"):
        with open("/tmp/writing", "w") as f:
            f.write("%s %s" % (random.random(), secrets.token_hex(8)))
        os.remove("/tmp/ask")
        os.rename("/tmp/writing", "/tmp/answer")
    time.sleep(0.2)
`

// pythonConfig is a testConfig whose sandboxes count.
func pythonConfig(t *testing.T, target, most int) configs.Config {
	t.Helper()
	cfg := testConfig(t, target, most)
	cfg.Templates["default"] = configs.Template{
		Image: configs.FileScheme + host.Python, Command: []string{"python3", "-c", counter},
		ReadyCommand: "test -s /tmp/log", ReadyTimeout: lifetime.Duration(patience),
	}
	return cfg
}

// shell runs a command line that must succeed in a claim's sandbox, and returns what it wrote.
func shell(t *testing.T, c *client.Client, claim, command string) string {
	t.Helper()
	code, out, err := output(t.Context(), c, claim, "", "sh", "-c", command)
	if err != nil || code != 0 {
		t.Fatalf("%q in claim %s: exit code %d, %q, %v", command, claim, code, out, err)
	}
	return strings.TrimSpace(out)
}

// counted returns the word and the number of a claim whose sandbox counts.
func counted(t *testing.T, c *client.Client, claim string) (word string, n int) {
	t.Helper()
	word, text, _ := strings.Cut(shell(t, c, claim, "until grep . /tmp/log; do :; done"), " ")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return word, n
}

// drawn asks the counting program of a claim for its next random numbers.
func drawn(t *testing.T, c *client.Client, claim string) (random, secret string) {
	t.Helper()
	random, secret, _ = strings.Cut(shell(t, c, claim, "rm -f /tmp/answer; : > /tmp/ask; until [ -e /tmp/answer ]; do usleep 10000; done; cat /tmp/answer"), " ")
	return random, secret
}

func save(t *testing.T, c *client.Client, claim string, req wire.CheckpointRequest) wire.Checkpoint {
	t.Helper()
	saved, err := c.Checkpoint(t.Context(), claim, req)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func TestTwentyForks(t *testing.T) {
	d := start(t, pythonConfig(t, 1, 24))
	c := claim(t, d.Client, wire.ClaimRequest{})
	word, before := counted(t, d.Client, c.ID)
	wait := lifetime.Duration(5 * time.Minute)
	forks, err := d.Fork(t.Context(), c.ID, wire.ForkRequest{Count: 20, Wait: &wait})
	if err != nil || len(forks) != 20 {
		t.Fatalf("%d forks, %v", len(forks), err)
	}
	const own = "hostname; cat /etc/machine-id; uuidgen; head -c 16 /dev/urandom | hexdump -e '16/1 \"%02x\"'"
	seen := map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, fork := range forks {
		all.Go(func() {
			if fork.Tier != wire.TierRestored {
				t.Errorf("fork %+v, want tier %q", fork, wire.TierRestored)
			}
			if got, n := counted(t, d.Client, fork.ID); got != word || n <= before {
				t.Errorf("fork %s counts %s %d, want %s and more than %d", fork.ID, got, n, word, before)
			}
			identity := strings.Fields(shell(t, d.Client, fork.ID, own))
			if len(identity) != 4 || identity[0] != fork.Sandbox {
				t.Errorf("fork %s in sandbox %s is %q", fork.ID, fork.Sandbox, identity)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, value := range identity {
				if other := seen[value]; other != "" {
					t.Errorf("forks %s and %s share %q", other, fork.ID, value)
				}
				seen[value] = fork.ID
			}
		})
	}
	all.Wait()
	if got, n := counted(t, d.Client, c.ID); got != word || n <= before {
		t.Errorf("the first claim counts %s %d, want %s and more than %d", got, n, word, before)
	}
	if left, err := d.Checkpoints(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("checkpoints are left: %+v, %v", left, err)
	}
}

// TestRandomNumbersAfterRestores shows what two restores of one checkpoint share, and that a hook can help it.
func TestRandomNumbersAfterRestores(t *testing.T) {
	d := start(t, pythonConfig(t, 1, 8))
	c := claim(t, d.Client, wire.ClaimRequest{})
	draw := func(checkpoint string) (randoms, secrets []string) {
		t.Helper()
		for range 2 {
			restored := claim(t, d.Client, wire.ClaimRequest{Checkpoint: checkpoint})
			random, secret := drawn(t, d.Client, restored.ID)
			randoms, secrets = append(randoms, random), append(secrets, secret)
			if err := d.Release(t.Context(), restored.ID); err != nil {
				t.Error(err)
			}
		}
		return randoms, secrets
	}
	plain := save(t, d.Client, c.ID, wire.CheckpointRequest{})
	randoms, secrets := draw(plain.ID)
	if randoms[0] != randoms[1] {
		t.Errorf("random numbers %q differ: the docs say that they are copied", randoms)
	}
	if secrets[0] == secrets[1] {
		t.Errorf("secrets %q are the same", secrets)
	}
	shell(t, d.Client, c.ID, `mkdir -p /etc/sandpool/restored.d && cd /etc/sandpool/restored.d &&
		printf '#!/bin/sh\nkill -USR1 $(cat /tmp/pid)\n' > reseed && chmod +x reseed`)
	hooked := save(t, d.Client, c.ID, wire.CheckpointRequest{Comment: "with a hook"})
	if randoms, secrets := draw(hooked.ID); randoms[0] == randoms[1] || secrets[0] == secrets[1] {
		t.Errorf("random numbers %q and secrets %q, want none twice: the hook reseeds", randoms, secrets)
	}
}

// checkClock checks that a restored sandbox tells the time, and not that of its checkpoint.
func checkClock(t *testing.T, c *client.Client, id string) {
	t.Helper()
	before := time.Now()
	inside, err := strconv.ParseInt(shell(t, c, id, "date +%s"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if earliest, latest := before.Unix()-2, time.Now().Unix()+2; inside < earliest || inside > latest {
		t.Errorf("the clock says %d, want %d to %d", inside, earliest, latest)
	}
}

func TestCheckpointOfAClaim(t *testing.T) {
	cfg := testConfig(t, 1, 4)
	d := start(t, cfg)
	c := claim(t, d.Client, wire.ClaimRequest{})
	shell(t, d.Client, c.ID, "echo kept > /root/file; echo kept > /dev/shm/file")
	first := save(t, d.Client, c.ID, wire.CheckpointRequest{Comment: "first"})
	if first.Claim != c.ID || first.Sandbox != c.Sandbox || first.Template != "default" || first.Trigger != "request" || first.Comment != "first" || first.Bytes == 0 {
		t.Errorf("checkpoint is %+v", first)
	}
	checkAlive(t, d.Client, c)
	restored := claim(t, d.Client, wire.ClaimRequest{Checkpoint: first.ID, RequestID: "again"})
	if repeated := claim(t, d.Client, wire.ClaimRequest{Checkpoint: first.ID, RequestID: "again"}); repeated.ID != restored.ID {
		t.Errorf("the repeated request got claim %s, want %s", repeated.ID, restored.ID)
	}
	if got := shell(t, d.Client, restored.ID, "cat /root/file /dev/shm/file"); got != "kept\nkept" {
		t.Errorf("restored files hold %q", got)
	}
	child := save(t, d.Client, restored.ID, wire.CheckpointRequest{Stop: true})
	if child.Parent != first.ID {
		t.Errorf("checkpoint of a restored sandbox is %+v, want parent %s", child, first.ID)
	}
	_, err := d.Get(t.Context(), restored.ID)
	wantError(t, err, "not_found")
	list, err := d.Checkpoints(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != first.ID || list[1].ID != child.ID {
		t.Errorf("checkpoints are %+v, %v", list, err)
	}

	if err := d.DeleteCheckpoint(t.Context(), child.ID); err != nil {
		t.Error(err)
	}
	_, err = d.Claim(t.Context(), wire.ClaimRequest{Checkpoint: child.ID})
	wantError(t, err, "not_found")
	for _, spoil := range []func(path string) error{
		func(path string) error { return os.Truncate(path, 100) },
		func(path string) error { return os.Remove(path) },
	} {
		if err := spoil(filepath.Join(cfg.Checkpoints.Dir, first.ID, "checkpoint.img")); err != nil {
			t.Fatal(err)
		}
		_, err := d.Claim(t.Context(), wire.ClaimRequest{Checkpoint: first.ID})
		wantError(t, err, "conflict")
		if !strings.Contains(err.Error(), "checkpoint.img") {
			t.Errorf("error %q does not name the file", err)
		}
	}
	if p := awaitPool(t, d.Client); p.Degraded != "" {
		t.Errorf("pool is degraded by a bad checkpoint: %s", p.Degraded)
	}
}

// TestIdleClaims lets claims come to rest and brings them back.
func TestIdleClaims(t *testing.T) {
	cfg := testConfig(t, 1, 4)
	second := lifetime.Duration(time.Second)
	dozy := configs.Lifetime{Lifetime: 3600 * second, IdlePause: second}
	lazy := dozy
	lazy.IdleSuspend = second
	brief := lazy
	brief.IdleDelete = second
	cfg.Lifetimes["dozy"], cfg.Lifetimes["lazy"], cfg.Lifetimes["brief"] = dozy, lazy, brief
	d := start(t, cfg)
	events := follow(t, d.Client)
	paused := claim(t, d.Client, wire.ClaimRequest{Type: "dozy"})
	awaitEvent(t, events, paused.ID, "paused")
	checkAlive(t, d.Client, paused)
	awaitEvent(t, events, paused.ID, "resumed")

	c := claim(t, d.Client, wire.ClaimRequest{Type: "lazy"})
	shell(t, d.Client, c.ID, "echo kept > /dev/shm/file") // which may wake it, too
	await(t, "the claim is suspended", func() bool {
		got, err := d.Get(t.Context(), c.ID)
		return err == nil && got.State == wire.ClaimSuspended
	})
	if tasks := ctr(t, "tasks", "ls"); strings.Contains(tasks, c.Sandbox) {
		t.Errorf("the suspended sandbox has a task:\n%s", tasks)
	}
	if got := shell(t, d.Client, c.ID, "cat /dev/shm/file"); got != "kept" {
		t.Errorf("the file holds %q after the sandbox was woken", got)
	}
	awaitEvent(t, events, c.ID, "restored")
	checkAlive(t, d.Client, c)

	gone := claim(t, d.Client, wire.ClaimRequest{Type: "brief"})
	awaitEvent(t, events, gone.ID, "suspended")
	awaitEvent(t, events, gone.ID, "killed")
	if slices.Contains(containers(t, ""), gone.Sandbox) {
		t.Error("the sandbox of a claim that was idle for too long is still there")
	}
	if err := d.Release(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	await(t, "their checkpoints are deleted", func() bool {
		left, err := d.Checkpoints(t.Context())
		return err == nil && len(left) == 0
	})
}

// TestExecDuringRest has many commands wake one claim at once, again and again.
func TestExecDuringRest(t *testing.T) {
	cfg := testConfig(t, 1, 2)
	cfg.Lifetimes["lazy"] = configs.Lifetime{Lifetime: lifetime.Duration(time.Hour), IdlePause: lifetime.Duration(time.Millisecond), IdleSuspend: lifetime.Duration(time.Millisecond)}
	d := start(t, cfg)
	events := follow(t, d.Client)
	c := claim(t, d.Client, wire.ClaimRequest{Type: "lazy"})
	for range 2 {
		awaitEvent(t, events, c.ID, "suspended")
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				code, out, err := output(context.WithoutCancel(t.Context()), d.Client, c.ID, "", "echo", strconv.Itoa(i))
				if want := fmt.Sprintln(i); err != nil || code != 0 || out != want {
					t.Errorf("exit code %d, %q, %v; want %q", code, out, err, want)
				}
			})
		}
		all.Wait()
	}
}
