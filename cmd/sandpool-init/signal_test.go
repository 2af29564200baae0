package main

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sandpool/cmd/sandpool-init/procs"

	"golang.org/x/sys/unix"
)

// TestSignalSession kills a session with several groups, and leaves one alone that was begun in it.
func TestSignalSession(t *testing.T) {
	cmd := exec.CommandContext(deadline(t), "sh", "-c", `trap '' TERM; set -m; sleep 1000 & echo $!; setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000; wait`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, pids := bufio.NewScanner(out), []int{}
	for len(pids) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	job, other := pids[0], pids[1]
	defer func() { _ = unix.Kill(other, unix.SIGKILL) }()
	if out, err := exec.CommandContext(deadline(t), program, "signal", "9", strconv.Itoa(cmd.Process.Pid)).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if left, err := procs.MembersOf(cmd.Process.Pid); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v; the job was %d", left, err, job)
	}
	if err := unix.Kill(other, 0); err != nil {
		t.Errorf("the other session: %v", err)
	}
	_ = unix.Kill(other, unix.SIGKILL) // it holds the output
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGKILL {
		t.Errorf("the leader ended with %v", status)
	}
}

func TestSignalUsage(t *testing.T) {
	for _, args := range []string{"", "9", "9 1", "0 7", "9 x", "x 7", "9 7 7", "9 -1"} {
		if code := exitOf(exec.CommandContext(deadline(t), program, append([]string{"signal"}, strings.Fields(args)...)...).Run()); code != exitUsage {
			t.Errorf("signal %s: exit code %d", args, code)
		}
	}
	if code := exitOf(exec.CommandContext(deadline(t), program, "signal", "15", "4194304").Run()); code != 0 {
		t.Errorf("a group that there is not: exit code %d", code)
	}
}

func TestSessionOf(t *testing.T) {
	for stat, want := range map[string]int{
		"7 (sleep) S 1 7 5 0":          5,
		"7 (a) b) 9 9 9 (x) R 1 7 5 0": 5,
		"7 (sleep) Z 1 7 5 0":          0,
		"7 (sleep) S 1":                0,
		"":                             0,
		"7 (sleep) S 1 7 x 0":          0,
	} {
		if got := procs.SessionOf([]byte(stat)); got != want {
			t.Errorf("%q: %d, want %d", stat, got, want)
		}
	}
}

// TestAnnouncedGate says who becomes the command before it asks for leave.
func TestAnnouncedGate(t *testing.T) {
	cmd := exec.CommandContext(deadline(t), program, "gate", "--", "sh", "-c", "echo $$")
	leave, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		if want := strconv.Itoa(cmd.Process.Pid); !lines.Scan() || lines.Text() != want {
			t.Errorf("it says %q, want %s", lines.Text(), want)
		}
		_, _ = leave.Write([]byte{'\n'})
	}
	_ = cmd.Wait()
}
