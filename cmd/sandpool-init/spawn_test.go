package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// startPrivate starts an init that has its own /proc, in which it looks up who calls. The command is the init's own, with
// its program.
func startPrivate(t *testing.T, command ...string) *sandbox {
	t.Helper()
	script := `mount --make-rprivate / && mount -t proc proc /proc && exec "$0" "$@"`
	cmd := exec.CommandContext(deadline(t), "sh", append([]string{"-c", script}, command...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	return startSandbox(t, cmd)
}

// enter runs a command in the sandbox.
func (s *sandbox) enter(t *testing.T, args ...string) *exec.Cmd {
	return exec.CommandContext(deadline(t), "nsenter", append([]string{"--target", strconv.Itoa(s.cmd.Process.Pid), "--pid", "--net", "--mount"}, args...)...)
}

// startServing starts an init and returns when it serves. Without a command it has nothing to say, so it is asked until it does.
func startServing(t *testing.T, args ...string) *sandbox {
	t.Helper()
	s := startPrivate(t, append([]string{program}, args...)...)
	for ctx := deadline(t); s.enter(t, program, "spawn", "--", "true").Run() != nil; {
		if context.Cause(ctx) != nil {
			t.Fatalf("it does not serve: %s", s.stderr.String())
		}
	}
	return s
}

// report is what a spawned command writes to its log. It ends when the other end of the pipe is read.
const report = `echo $PPID; id -u; id -g; id -G; pwd; echo $MARK "$@"; cat; echo error >&2; readlink /proc/self/fd/0; echo $$ >pipe`

func TestSpawn(t *testing.T) {
	for name, args := range map[string][]string{"idle": nil, "command": {"--", "sleep", "1000000"}} {
		t.Run(name, func(t *testing.T) {
			s := startServing(t, args...)
			dir := t.TempDir()
			pipe := filepath.Join(dir, "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{filepath.Dir(dir), dir, pipe} { // the caller is another user
				if err := os.Chmod(path, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			cmd := s.enter(t, "env", "--chdir="+dir, "setpriv", "--reuid=1234", "--regid=1235", "--groups=77,88", program, "spawn", "--log", "log", "--", "sh", "-c", report, "sh", "two words", "")
			cmd.Env = append(os.Environ(), "MARK=marked")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			pid, err := cmd.Output()
			if err != nil {
				t.Fatalf("spawn: %v: %s", err, stderr.String())
			}
			if told, err := os.ReadFile(pipe); err != nil || string(told) != string(pid) {
				t.Errorf("the process is %q: %v, spawn said %q", told, err, pid)
			}
			log, err := os.ReadFile(filepath.Join(dir, "log"))
			want := strings.Join([]string{"1", "1234", "1235", "1235 77 88", dir, "marked two words ", "error", "/dev/null", ""}, "\n")
			if err != nil || string(log) != want {
				t.Errorf("log %q, %v, want %q", log, err, want)
			}
			s.signal(t, syscall.SIGTERM)
			if code, _ := s.end(); code != 143 {
				t.Errorf("exit code %d, want 143", code)
			}
		})
	}
}

func TestSpawnRefuses(t *testing.T) {
	s := startServing(t)
	dir := t.TempDir()
	notRunnable := filepath.Join(dir, "file")
	if err := os.WriteFile(notRunnable, []byte("text"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		before []string
		args   []string
		code   int
		want   string
	}{
		"not found":             {nil, []string{"--", "no-such-program"}, exitNotFound, "no-such-program"},
		"not runnable":          {nil, []string{"--", notRunnable}, exitNotRunnable, "exec format error"},
		"a device as log":       {nil, []string{"--log", "/dev/null", "--", "true"}, exitFailure, "no plain file"},
		"a pipe as log":         {nil, []string{"--log", "/proc/self/fd/2", "--", "true"}, exitFailure, "no plain file"},
		"fewer capabilities":    {[]string{"setpriv", "--bounding-set=-sys_admin"}, []string{"--", "true"}, exitNotRunnable, "CapBnd"},
		"no new privileges":     {[]string{"setpriv", "--no-new-privs"}, []string{"--", "true"}, exitNotRunnable, "NoNewPrivs"},
		"two users":             {[]string{"setpriv", "--ruid=1000"}, []string{"--", "true"}, exitNotRunnable, "more than one user"},
		"from another sandbox":  {[]string{"unshare", "--net"}, []string{"--", "true"}, exitFailure, "connection refused"},
		"a user's file of root": {[]string{"setpriv", "--reuid=1000", "--clear-groups"}, []string{"--log", notRunnable, "--", "true"}, exitFailure, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := s.enter(t, append(append(test.before, program, "spawn"), test.args...)...).CombinedOutput()
			if code := exitOf(err); code != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("exit code %d, %q; want %d and %q", code, out, test.code, test.want)
			}
		})
	}
	// It still serves.
	if out, err := s.enter(t, program, "spawn", "--", "true").CombinedOutput(); err != nil {
		t.Errorf("spawn after refusals: %v: %s", err, out)
	}
	guest := s.guest(t, "echo asked")
	s.signal(t, syscall.SIGTERM)
	guest.line(t)
	out, err := s.enter(t, program, "spawn", "--", "true").CombinedOutput()
	if code := exitOf(err); code != exitNotRunnable || !strings.Contains(string(out), "the sandbox ends") {
		t.Errorf("spawn while the sandbox ends: exit code %d, %q", code, out)
	}
	s.signal(t, syscall.SIGTERM)
	guest.end()
	s.end()
}

// TestSpawnWithoutCapabilities has a process 1 that cannot change users, as hardened sandboxes have.
func TestSpawnWithoutCapabilities(t *testing.T) {
	const hardened = "--bounding-set=-setuid,-setgid"
	s := startPrivate(t, "setpriv", hardened, program, "--", "sh", "-c", "echo ready; exec sleep 1000000")
	s.line(t)
	for name, test := range map[string]struct {
		options []string
		code    int
		want    string
	}{
		"same user":    {nil, 0, ""},
		"another user": {[]string{"--reuid=1000", "--regid=1000", "--clear-groups"}, exitNotRunnable, "operation not permitted"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"setpriv", hardened}, test.options...)
			out, err := s.enter(t, append(args, program, "spawn", "--", "true")...).CombinedOutput()
			if code := exitOf(err); code != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("exit code %d, %q; want %d and %q", code, out, test.code, test.want)
			}
		})
	}
	s.signal(t, syscall.SIGTERM)
	if code, _ := s.end(); code != 143 {
		t.Errorf("exit code %d, want 143", code)
	}
}

func TestMessages(t *testing.T) {
	words := []string{"a", "", "two\nlines", strings.Repeat("x", 1000)}
	message, err := encode(words)
	if err != nil {
		t.Fatal(err)
	}
	got, err := receive(bytes.NewReader(message))
	if err != nil || strings.Join(got, "|") != strings.Join(words, "|") {
		t.Errorf("got %q, %v, want %q", got, err, words)
	}
	for name, bad := range map[string][]byte{
		"cut":           message[:len(message)-1],
		"too long":      {0, 0x10, 0, 1},
		"a cut length":  {0, 0, 0, 3, 0, 0, 0},
		"a cut word":    {0, 0, 0, 5, 0, 0, 0, 2, 'a'},
		"a huge length": {0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff},
	} {
		if words, err := receive(bytes.NewReader(bad)); err == nil {
			t.Errorf("%s: read %q", name, words)
		}
	}
}
