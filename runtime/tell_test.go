package runtime

import (
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/runtime/hostproc"
	"sandpool/runtime/template"
)

func TestCPUTimes(t *testing.T) {
	e := openEngine(t, testConfig(t))
	busy, idle := startSandbox(t, e), startSandbox(t, e)
	if err := e.Pause(t.Context(), idle); err != nil {
		t.Fatal(err)
	}
	times := func() map[string]time.Duration {
		t.Helper()
		used, err := hostproc.CPUTimes(busy, idle, NewID())
		if err != nil || len(used) != 2 {
			t.Fatalf("times %v, %v; want those of two sandboxes", used, err)
		}
		return used
	}
	first := times()
	for times()[busy] < first[busy]+200*time.Millisecond {
		run(t, e, busy, "", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
	}
	if now := times(); now[idle]-first[idle] > 50*time.Millisecond {
		t.Errorf("the paused sandbox used %s, and %s a moment later", first[idle], now[idle])
	}
	began := time.Now()
	times()
	t.Logf("a look took %s", time.Since(began))
}

func TestTerminate(t *testing.T) {
	e := openEngine(t, testConfig(t))
	asked := `trap 'echo asked > /tmp/asked; exec sleep 1000' TERM; while :; do sleep 0.1; done`
	if err := prepare(t.Context(), e, "polite", template.Template{Image: "file://" + host.Image, Command: []string{"sh", "-c", asked}}); err != nil {
		t.Fatal(err)
	}
	id := startFrom(t, e, "polite")
	if err := e.Terminate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if code, out := run(t, e, id, "", "sh", "-c", "until [ -e /tmp/asked ]; do sleep 0.1; done"); code != 0 {
		t.Errorf("exit code %d, %s", code, out)
	}
	if err := e.Halt(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, ended := range []string{id, NewID()} {
		if err := e.Terminate(t.Context(), ended); !errdefs.IsNotFound(err) {
			t.Errorf("terminate of one that has ended: %v, want NotFound", err)
		}
	}
}

func TestTell(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	for _, line := range []string{`{"kind":"warning"}`, `{"kind":"grace"}`} {
		if err := e.Tell(t.Context(), id, []byte(line+"\n")); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := run(t, e, id, "", "cat", "/run/sandpool/events"); code != 0 || out != "{\"kind\":\"warning\"}\n{\"kind\":\"grace\"}\n" {
		t.Errorf("exit code %d, events %q", code, out)
	}
	if err := e.Tell(t.Context(), id, nil); err == nil || !strings.Contains(err.Error(), "exit code 2") {
		t.Errorf("nothing was told: %v, want the init's refusal", err)
	}
	if err := e.Tell(t.Context(), NewID(), []byte("x\n")); !errdefs.IsNotFound(err) {
		t.Errorf("unknown sandbox: %v, want NotFound", err)
	}
}

// A restored sandbox has been told that it is another one now.
func TestRestoredSandboxKnowsItsName(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	if code, out := run(t, e, id, "", "sh", "-c", "echo old > /etc/machine-id; mkdir -p /etc/sandpool/restored.d; cd /etc/sandpool/restored.d; printf '#!/bin/sh\necho hook > /hooked\n' > a; chmod 755 a"); code != 0 {
		t.Fatal(out)
	}
	if err := e.Tell(t.Context(), id, []byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	fit, dir := take(t, e, id)
	copied := restore(t, e, fit, dir)
	if code, _ := run(t, e, copied, "", "test", "-e", "/run/sandpool/events"); code == 0 {
		t.Error("it has the events of the other sandbox")
	}
	for path, want := range map[string]string{"/run/sandpool/restored": copied, "/hooked": "hook"} {
		if code, out := run(t, e, copied, "", "cat", path); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d, %q; want %q in it", path, code, out, want)
		}
	}
	if code, out := run(t, e, copied, "", "cat", "/etc/machine-id"); code != 0 || len(out) != 33 {
		t.Errorf("machine id: exit code %d, %q; want a new one", code, out)
	}
}
