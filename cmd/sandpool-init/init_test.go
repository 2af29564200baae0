package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// sandbox is an init that runs as process 1 of a pid namespace; its network is its own as well, as its socket's name is.
type sandbox struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
}

func startInit(t *testing.T, args ...string) *sandbox {
	t.Helper()
	cmd := exec.CommandContext(deadline(t), program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	return startSandbox(t, cmd)
}

func startSandbox(t *testing.T, cmd *exec.Cmd) *sandbox {
	t.Helper()
	s := &sandbox{cmd: cmd}
	cmd.Stderr = &s.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(stdout)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// line reads a line of output: the program's way to say how far it is.
func (s *sandbox) line(t *testing.T) string {
	t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("read output: %v: %s", err, s.stderr.String())
	}
	return strings.TrimSpace(line)
}

func (s *sandbox) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// end waits and returns the exit code and the rest of the output.
func (s *sandbox) end() (int, string) {
	rest, _ := io.ReadAll(s.out)
	return exitOf(s.cmd.Wait()), string(rest)
}

func exitOf(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return -2
	}
	return 0
}

func TestExitCodes(t *testing.T) {
	notRunnable := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notRunnable, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want int
	}{
		"success":      {[]string{"true"}, 0},
		"code":         {[]string{"sh", "-c", "exit 7"}, 7},
		"killed":       {[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9},
		"not found":    {[]string{"no-such-program"}, exitNotFound},
		"no such path": {[]string{"/no/such/program"}, exitNotFound},
		"not runnable": {[]string{notRunnable}, exitNotRunnable},
		"dashes":       {[]string{"sh", "-c", "exit $#", "sh", "--", "-x"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := startInit(t, append([]string{"--"}, test.args...)...)
			if code, _ := s.end(); code != test.want {
				t.Errorf("exit code %d, want %d: %s", code, test.want, s.stderr.String())
			}
		})
	}
}

func TestForwardsSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGWINCH} {
		t.Run(sig.String(), func(t *testing.T) {
			s := startInit(t, "--", "sh", "-c", `trap 'exit 40' TERM INT HUP USR1 WINCH; echo ready; while :; do sleep 0.01; done`)
			s.line(t)
			s.signal(t, sig)
			if code, _ := s.end(); code != 40 {
				t.Errorf("exit code %d: the signal did not arrive: %s", code, s.stderr.String())
			}
		})
	}
}

func TestDiesAsChildDoes(t *testing.T) {
	s := startInit(t, "--", "sh", "-c", "echo ready; exec sleep 1000000")
	s.line(t)
	s.signal(t, syscall.SIGTERM)
	if code, _ := s.end(); code != 128+15 {
		t.Errorf("exit code %d, want 143", code)
	}
}

// orphans makes children that lose their parent and end, and waits until /proc shows process 1 and the shell alone.
const orphans = `
for i in 1 2 3 4 5; do (sh -c : &); done
while set -- /proc/[0-9]*; [ $# != 2 ]; do :; done
echo reaped`

func TestReapsOrphans(t *testing.T) {
	cmd := exec.CommandContext(deadline(t), "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", program, "--", "sh", "-c", orphans)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "reaped" {
		t.Fatalf("%v: %s", err, out)
	}
}

// guest is a program that is exec'd into the sandbox, so not the init's child. It is ready when the init has reaped an
// orphan, and so listens.
func (s *sandbox) guest(t *testing.T, onTerminate string) *sandbox {
	t.Helper()
	script := `trap '` + onTerminate + `' TERM
orphan=$(sh -c 'sleep 0.05 >/dev/null & echo $!')
while kill -0 "$orphan" 2>/dev/null; do :; done
echo ready
while :; do sleep 0.01; done`
	guest := startSandbox(t, exec.CommandContext(deadline(t), "nsenter", "--target", strconv.Itoa(s.cmd.Process.Pid), "--pid", "sh", "-c", script))
	if line := guest.line(t); line != "ready" {
		t.Fatalf("guest said %q", line)
	}
	return guest
}

func TestIdleEndsAll(t *testing.T) {
	for name, test := range map[string]struct {
		signal syscall.Signal
		want   int
	}{"terminate": {syscall.SIGTERM, 143}, "interrupt": {syscall.SIGINT, 130}} {
		t.Run(name, func(t *testing.T) {
			s := startInit(t)
			guest := s.guest(t, "echo ended; exit")
			s.signal(t, test.signal)
			if _, rest := guest.end(); rest != "ended\n" {
				t.Errorf("the guest was not asked to end: %q", rest)
			}
			if code, _ := s.end(); code != test.want {
				t.Errorf("exit code %d, want %d", code, test.want)
			}
		})
	}
}

// stubborn is a command that says that it was asked to end, and goes on.
const stubborn = `trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done`

func TestSecondSignalKills(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run("idle "+sig.String(), func(t *testing.T) {
			s := startInit(t)
			guest := s.guest(t, "echo asked")
			s.signal(t, syscall.SIGTERM)
			guest.line(t)
			s.signal(t, sig)
			if code, _ := s.end(); code != 143 {
				t.Errorf("exit code %d, want 143", code)
			}
			if code, _ := guest.end(); code != 137 && code != -1 { // nsenter dies as its child did
				t.Errorf("the guest's exit code is %d, want that of SIGKILL", code)
			}
		})
		t.Run("command "+sig.String(), func(t *testing.T) {
			s := startInit(t, "--", "sh", "-c", stubborn)
			s.line(t)
			s.signal(t, syscall.SIGTERM)
			s.line(t)
			s.signal(t, sig)
			if code, _ := s.end(); code != 137 {
				t.Errorf("exit code %d, want 137", code)
			}
		})
	}
}

// orderly is a command with another process beside it; each says when it ends. Once the other is up, both can be asked to.
const orderly = `trap 'echo command; exit 7' TERM
(setsid sh -c 'trap "echo other; exit" TERM; echo up; while :; do sleep 0.01; done' &)
while :; do sleep 0.01; done`

func TestEndsTheCommandFirst(t *testing.T) {
	s := startInit(t, "--", "sh", "-c", orderly)
	s.line(t)
	s.signal(t, syscall.SIGTERM)
	if code, rest := s.end(); code != 7 || rest != "command\nother\n" {
		t.Errorf("exit code %d and %q, want 7 and the command before the other: %s", code, rest, s.stderr.String())
	}
}

// hasty is a command that ends by itself when another process runs beside it.
const hasty = `{ (setsid sh -c 'trap "echo other >&3; exit" TERM; echo up; while :; do sleep 0.01; done' &) | read up; exit 7; } 3>&1`

func TestCommandThatEndsUnaskedEndsAll(t *testing.T) {
	s := startInit(t, "--", "sh", "-c", hasty)
	if code, rest := s.end(); code != 7 || rest != "" {
		t.Errorf("exit code %d and %q, want 7 at once", code, rest)
	}
}
