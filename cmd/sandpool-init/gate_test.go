package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestGate(t *testing.T) {
	for name, test := range map[string]struct {
		input, command string
		code           int
		out            string
	}{
		"leave":             {"\n", "echo begun", 0, "begun\n"},
		"the rest is input": {"\nin\n", "echo begun; cat; exit 7", 7, "begun\nin\n"},
		"no leave":          {"", "echo begun", exitRefused, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(deadline(t), program, "exec", "--", "sh", "-c", test.command)
			cmd.Stdin = strings.NewReader(test.input)
			out, err := cmd.Output()
			if code := exitOf(err); code != test.code || string(out) != test.out {
				t.Errorf("exit code %d, output %q; want %d, %q", code, out, test.code, test.out)
			}
		})
	}
}

func TestGateOnWhatCannotRun(t *testing.T) {
	for command, want := range map[string]int{"no-such-program": exitNotFound, "/no/such/program": exitNotFound, "/etc": exitNotRunnable} {
		cmd := exec.CommandContext(deadline(t), program, "exec", "--", command)
		cmd.Stdin = strings.NewReader("\n")
		out, err := cmd.CombinedOutput()
		if code := exitOf(err); code != want || !strings.Contains(string(out), command) {
			t.Errorf("%s: exit code %d, %q; want %d and its name", command, code, out, want)
		}
	}
}

// gateOnTerminal starts a gated command on a terminal of its own, and returns the other end of that.
func gateOnTerminal(t *testing.T, command string) (*exec.Cmd, *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY)
	if errno != 0 {
		t.Fatal(errno)
	}
	terminal := os.NewFile(slave, "terminal")
	defer func() { _ = terminal.Close() }()
	cmd := exec.CommandContext(deadline(t), program, "exec", "--", "sh", "-c", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, master
}

func TestGateOnTerminal(t *testing.T) {
	cmd, master := gateOnTerminal(t, `read line; echo "got $line"`)
	if _, err := master.WriteString("\x04typed\n"); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for b := make([]byte, 64); !strings.Contains(out.String(), "got typed"); {
		n, err := master.Read(b)
		if err != nil {
			t.Fatalf("read terminal: %v after %q", err, out.String())
		}
		out.Write(b[:n])
	}
	if strings.ContainsAny(out.String(), "\x04^") {
		t.Errorf("the terminal shows %q: the go-ahead was echoed", out.String())
	}
	if code := exitOf(cmd.Wait()); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestGateOnTerminalThatHangsUp(t *testing.T) {
	marker := t.TempDir() + "/begun"
	cmd, master := gateOnTerminal(t, "trap '' HUP; : > "+marker)
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(cmd.Wait()); code == 0 {
		t.Error("the gate ended well")
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the command began")
	}
}
