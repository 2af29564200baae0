package testhost

import (
	"context"
	"strings"
	"testing"
	"time"
)

// ctr runs a ctr command on h and returns its output.
func ctr(t *testing.T, h *Host, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := h.Command(ctx, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ctr %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// runSandbox starts a gVisor container that sleeps.
func runSandbox(t *testing.T, h *Host, id string) {
	t.Helper()
	out, err := h.Run(t.Context(), "--detach", "sandpool.local/busybox:1", id, "sleep", "1000000").CombinedOutput()
	if err != nil {
		t.Fatalf("run sandbox: %v: %s", err, out)
	}
}

func TestSandboxSurvivesContainerd(t *testing.T) {
	if err := host.Import(t.Context(), host.Image); err != nil {
		t.Fatal(err)
	}
	runSandbox(t, host, "survivor")
	if err := host.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := host.StartContainerd(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := ctr(t, host, "tasks", "exec", "--exec-id", "one", "survivor", "dmesg"); !strings.Contains(out, "gVisor") {
		t.Errorf("dmesg in the sandbox: %s", out)
	}
	if left := strings.Join(host.Leftovers(), "\n"); !strings.Contains(left, "runsc-sandbox") {
		t.Errorf("leftovers do not name the sandbox that runs: %s", left)
	}
	if err := host.Remove(t.Context(), "survivor"); err != nil {
		t.Error(err)
	}
	checkEmpty(t, host)
}

// checkEmpty fails the test when h left anything.
func checkEmpty(t *testing.T, h *Host) {
	t.Helper()
	if left := h.Leftovers(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}
