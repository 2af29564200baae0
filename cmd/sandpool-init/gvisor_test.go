package main

import (
	"context"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

const inside = "/.sandpool/init"

// deadline bounds a command: against a stuck sandbox ctr would wait for ever.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
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
	return startSandbox(t, host.Run(deadline(t), append([]string{"--rm", "--hostname", id, "--mount", mount, "sandpool.local/busybox:1", id, inside}, command...)...))
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

// output runs a program in the sandbox and returns what it wrote.
func output(t *testing.T, id string, options, command []string) string {
	t.Helper()
	args := append(append([]string{"tasks", "exec", "--exec-id", "beside"}, options...), id)
	s := startSandbox(t, host.Command(deadline(t), append(args, command...)...))
	code, out := s.end()
	if code != 0 {
		t.Errorf("%v: exit code %d: %s", command, code, s.stderr.String())
	}
	return out
}

func TestSpawnInGVisor(t *testing.T) {
	for name, command := range map[string][]string{"spawn-idle": nil, "spawn-command": {"--", "sleep", "1000000"}} {
		t.Run(name, func(t *testing.T) {
			s := startGVisor(t, name, command...)
			for ctx := deadline(t); inSandbox(t, name, inside, "spawn", "--", "true") != nil; {
				if err := context.Cause(ctx); err != nil {
					t.Fatalf("wait for the sandbox: %v: %s", err, s.stderr.String())
				}
			}
			// What it spawns says who it is, and that it was asked to end.
			script := `trap 'echo asked >>/tmp/log; exit' TERM; echo $PPID; id -u; id -g; pwd; mkfifo /tmp/up; echo >/tmp/up; while :; do usleep 10000; done`
			pid := output(t, name, []string{"--user", "1000:1000", "--cwd", "/home/sandbox"}, []string{inside, "spawn", "--log", "log", "--", "sh", "-c", script})
			log := output(t, name, nil, []string{"sh", "-c", `until [ -p /tmp/up ]; do usleep 10000; done; read x </tmp/up; cat /home/sandbox/log`})
			if want := "1\n1000\n1000\n/home/sandbox\n"; log != want || strings.TrimSpace(pid) == "" {
				t.Errorf("spawned %q; its log is %q, want %q", pid, log, want)
			}
			terminate(t, name)
			if code, _ := s.end(); code != exitSignal+int(syscall.SIGTERM) {
				t.Errorf("exit code %d, want 143: %s", code, s.stderr.String())
			}
		})
	}
}

// TestEndWaitsInGVisor shows that an exec'd program gets the time that it takes to end.
func TestEndWaitsInGVisor(t *testing.T) {
	s := startGVisor(t, "orderly", "--", "sh", "-c", `trap 'echo command; exit 7' TERM; echo ready; while :; do usleep 10000; done`)
	s.line(t)
	script := `trap 'read x; echo guest; exit' TERM; echo ready; while :; do usleep 10000; done`
	cmd := host.Command(deadline(t), "tasks", "exec", "--exec-id", "guest", "orderly", "sh", "-c", script)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	guest := startSandbox(t, cmd)
	if line := guest.line(t); line != "ready" {
		t.Fatalf("the guest said %q", line)
	}
	terminate(t, "orderly")
	if line := s.line(t); line != "command" {
		t.Errorf("the command said %q", line)
	}
	// The init waits for the guest, which waits for this.
	if _, err := io.WriteString(stdin, "go\n"); err != nil {
		t.Error(err)
	}
	// Its exit code is lost if the sandbox ends before it is asked for.
	if _, rest := guest.end(); rest != "guest\n" {
		t.Errorf("the guest's last words are %q: it was not waited for: %s", rest, guest.stderr.String())
	}
	if code, _ := s.end(); code != 7 {
		t.Errorf("exit code %d, want 7: %s", code, s.stderr.String())
	}
}

func TestNoticesInGVisor(t *testing.T) {
	s := startGVisor(t, "notices", "--", "sh", "-c", `trap 'exit 7' TERM; echo ready; while :; do usleep 10000; done`)
	s.line(t)
	script := `set -e; mkdir -p /etc/sandpool/restored.d; printf '#!/bin/sh\necho hook' >/etc/sandpool/restored.d/one; chmod +x /etc/sandpool/restored.d/one
echo event | ` + inside + ` tell; cat /run/sandpool/events; ` + inside + ` restored $(hostname) 2>&1; wc -c </etc/machine-id; cut -d '"' -f 1-3 /run/sandpool/restored`
	out := output(t, "notices", nil, []string{"sh", "-c", script})
	if want := "event\nhook\n33\n{\"time\":\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	terminate(t, "notices")
	if code, _ := s.end(); code != 7 {
		t.Errorf("exit code %d, want 7: %s", code, s.stderr.String())
	}
}
