package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"
)

const inside = "/.sandpool/init"

// deadline bounds a command: against a stuck sandbox ctr would wait for ever.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// startGVisor starts a gVisor container that has the init as process 1, under a ctr that waits for its end.
func startGVisor(t *testing.T, id string, command ...string) *sandbox {
	t.Helper()
	if err := host.Import(t.Context(), host.Image); err != nil {
		t.Fatal(err)
	}
	mount := "type=bind,src=" + program + ",dst=" + inside + ",options=rbind:ro"
	return startSandbox(t, host.Run(deadline(t), append([]string{"--rm", "--mount", mount, "sandpool.local/busybox:1", id, inside}, command...)...))
}

// inSandbox runs a program in the sandbox, beside the init.
func inSandbox(t *testing.T, id string, command ...string) error {
	t.Helper()
	out, err := host.Command(deadline(t), append([]string{"tasks", "exec", "--exec-id", "beside", id}, command...)...).CombinedOutput()
	if err != nil {
		t.Logf("%v: %v: %s", command, err, out)
	}
	return err
}

// terminate sends SIGTERM to the container's process 1. It goes past the waiting ctr, which may not pass signals on yet.
func terminate(t *testing.T, id string) {
	t.Helper()
	if out, err := host.Command(deadline(t), "tasks", "kill", "--signal", "TERM", id).CombinedOutput(); err != nil {
		t.Fatalf("kill %s: %v: %s", id, err, out)
	}
}

func TestCommandInGVisor(t *testing.T) {
	s := startGVisor(t, "command", "--", "sh", "-c", `trap 'exit 7' TERM; dmesg | head -n 1; while :; do usleep 10000; done`)
	if line := s.line(t); !strings.Contains(line, "gVisor") {
		t.Errorf("dmesg: %s", line)
	}
	terminate(t, "command")
	if code, _ := s.end(); code != 7 {
		t.Errorf("exit code %d, want 7: %s", code, s.stderr.String())
	}
}

func TestIdleInGVisor(t *testing.T) {
	s := startGVisor(t, "idle")
	// The idle init says nothing, so ask until the sandbox is there.
	for ctx := deadline(t); inSandbox(t, "idle", inside, "ready") != nil; {
		if err := context.Cause(ctx); err != nil {
			t.Fatalf("wait for the sandbox: %v: %s", err, s.stderr.String())
		}
	}
	// An orphan of an exec'd program is the init's to reap; until then it is in /proc.
	if err := inSandbox(t, "idle", "sh", "-c", `pid=$(sh -c 'sh -c : >/dev/null & echo $!'); while [ -e /proc/$pid ]; do usleep 10000; done`); err != nil {
		t.Error("the orphan was not reaped")
	}
	terminate(t, "idle")
	if code, _ := s.end(); code != exitSignal+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want 143: %s", code, s.stderr.String())
	}
}
