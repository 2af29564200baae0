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

// sandbox is an init that runs as process 1 of a pid namespace.
type sandbox struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
}

func startInit(t *testing.T, args ...string) *sandbox {
	t.Helper()
	cmd := exec.CommandContext(deadline(t), program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
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
	cmd := exec.CommandContext(deadline(t), "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", program, "--", "sh", "-c", orphans)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "reaped" {
		t.Fatalf("%v: %s", err, out)
	}
}

// guestScript is a program that is exec'd into the sandbox, so not the init's child. It is ready when the init has reaped
// an orphan, and so listens.
const guestScript = `trap 'echo ended; exit' TERM
orphan=$(sh -c 'sleep 0.05 >/dev/null & echo $!')
while kill -0 "$orphan" 2>/dev/null; do :; done
echo ready
while :; do sleep 0.01; done`

func TestIdleEndsAll(t *testing.T) {
	for name, test := range map[string]struct {
		signal syscall.Signal
		want   int
	}{"terminate": {syscall.SIGTERM, 143}, "interrupt": {syscall.SIGINT, 130}} {
		t.Run(name, func(t *testing.T) {
			s := startInit(t)
			guest := exec.CommandContext(deadline(t), "nsenter", "--target", strconv.Itoa(s.cmd.Process.Pid), "--pid", "sh", "-c", guestScript)
			stdout, err := guest.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := guest.Start(); err != nil {
				t.Fatal(err)
			}
			out := bufio.NewReader(stdout)
			if line, err := out.ReadString('\n'); line != "ready\n" {
				t.Fatalf("guest said %q: %v", line, err)
			}
			s.signal(t, test.signal)
			rest, err := io.ReadAll(out)
			if err != nil || string(rest) != "ended\n" {
				t.Errorf("the guest was not asked to end: %q: %v", rest, err)
			}
			_ = guest.Wait()
			if code, _ := s.end(); code != test.want {
				t.Errorf("exit code %d, want %d", code, test.want)
			}
		})
	}
}
