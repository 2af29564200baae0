package testhost

import (
	"os/exec"
	"testing"
)

// TestFreeze has a process that never rests stand still, and one that has ended be none.
func TestFreeze(t *testing.T) {
	busy := exec.CommandContext(t.Context(), "dd", "if=/dev/zero", "of=/dev/null")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	pid := busy.Process.Pid
	if still, err := frozen(pid); still || err != nil {
		t.Errorf("it stands still already, or %v", err)
	}
	if err := Freeze(t.Context(), pid); err != nil {
		t.Error(err)
	}
	if still, err := frozen(pid); !still || err != nil {
		t.Errorf("it runs on, or %v", err)
	}
	if err := busy.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = busy.Wait() // which fails: it was killed
	if Freeze(t.Context(), pid) == nil {
		t.Error("what has ended stands still")
	}
}
