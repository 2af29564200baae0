package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
	"sandpool/scripts/testhost"
)

// programEnv has the test's program be sandpool itself.
const programEnv = "SANDPOOL_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
	}
	testhost.ClearEnv()
	os.Exit(m.Run())
}

// program is sandpool as a process of its own.
func (f *fakeDaemon) program(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	f.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"--socket", f.socket}, args...)...)
	cmd.Env = append(os.Environ(), programEnv+"=1")
	return cmd
}

// serve has session answer the execs of a program that is to be started.
func (f *fakeDaemon) serve(session func(conn net.Conn, stream io.Reader, req wire.ExecRequest)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exec = session
}

// runTold runs a program, and says its process id.
func runTold(cmd *exec.Cmd, pid chan<- int) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	pid <- cmd.Process.Pid
	return cmd.Wait()
}

// stateOf returns the letter of a process's state.
func stateOf(pid int) string {
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return string(rest[:min(1, len(rest))])
}

// TestSignalsReachTheCommand sends sandpool each signal that is passed on, and in the end insists.
func TestSignalsReachTheCommand(t *testing.T) {
	f := newFake(t)
	cmd := f.program("exec", "-n", f.claimOne(), "--", "sleep", "9")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started := make(chan int, 1)
	f.serve(func(_ net.Conn, stream io.Reader, _ wire.ExecRequest) {
		pid := <-started
		for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP, unix.SIGCONT, unix.SIGINT} {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Error(err)
			}
			if got := next(t, stream); got.Kind != wire.FrameSignal || len(got.Payload) != 1 || syscall.Signal(got.Payload[0]) != sig {
				t.Errorf("got %v, want %s", got, sig)
			}
			for sig == unix.SIGTSTP && stateOf(pid) != "T" {
				time.Sleep(time.Millisecond)
			}
		}
		if err := syscall.Kill(pid, unix.SIGTERM); err != nil {
			t.Error(err)
		}
		for {
			if _, err := wire.ReadFrame(stream); err != nil {
				return // it hung up
			}
		}
	})
	err := runTold(cmd, started)
	if code := cmd.ProcessState.ExitCode(); code != exitOwnError || !strings.Contains(out.String(), "interrupted") || strings.Contains(out.String(), "goroutine") {
		t.Errorf("%v, %q; want exit code 125", err, out.String())
	}
}

// TestIgnoredSignalsStayIgnored starts sandpool as nohup would.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	f := newFake(t)
	cmd := f.program("exec", "-n", f.claimOne(), "--", "sleep", "9")
	cmd.Args = append([]string{"sh", "-c", `trap '' HUP; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started := make(chan int, 1)
	f.serve(func(conn net.Conn, stream io.Reader, _ wire.ExecRequest) {
		pid := <-started
		for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGUSR1} {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Error(err)
			}
		}
		if got := next(t, stream); len(got.Payload) != 1 || syscall.Signal(got.Payload[0]) != unix.SIGUSR1 {
			t.Errorf("got %v, want SIGUSR1", got)
		}
		f.frame(conn, wire.FrameExit, 0, 0, 0, 0)
	})
	if err := runTold(cmd, started); err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestTerminalIsGivenBack ends sandpool by a signal while it has a terminal.
func TestTerminalIsGivenBack(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP} {
		f := newFake(t)
		keyboard, path, err := console.NewPty()
		if err != nil {
			t.Fatal(err)
		}
		terminal, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		cmd := f.program("exec", "-t", f.claimOne(), "--", "sh")
		var said bytes.Buffer
		cmd.Stdin, cmd.Stderr = terminal, &said
		started, served := make(chan int, 1), make(chan struct{})
		f.serve(func(_ net.Conn, stream io.Reader, _ wire.ExecRequest) {
			defer close(served)
			pid := <-started
			if during, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS); err != nil || *during == *before {
				t.Errorf("%s: the terminal is not raw: %v", sig, err)
			}
			if err := syscall.Kill(pid, sig); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, stream)
		})
		_ = runTold(cmd, started)
		select {
		case <-served:
		case <-time.After(time.Minute):
			t.Fatal("the program did not ask for the command")
		}
		after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil || *after != *before || cmd.ProcessState.ExitCode() != exitOwnError || strings.Contains(said.String(), "goroutine") {
			t.Errorf("%s: %v, the terminal is as before: %v; %s %s", sig, err, *after == *before, cmd.ProcessState, said.String())
		}
		_, _ = terminal.Close(), keyboard.Close()
	}
}

func TestExecRefusesOtherNames(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	f.serve(func(net.Conn, io.Reader, wire.ExecRequest) { t.Error("the command was asked for") })
	for _, args := range [][]string{{id, "touch", "caf\xe9"}, {"-e", "X=\xff", id, "env"}, {"-w", "/d\xe9", id, "pwd"}, {"-d", "--log", "/l\xe9", id, "env"}} {
		if code, out, errOut := f.sandpool(append([]string{"exec"}, args...)...); code < exitOwnUsage || code > exitOwnError || out != "" || !strings.Contains(errOut, "UTF-8") {
			t.Errorf("%q: exit %d, %q, %q; want one of 120 to 125 and a sentence", args, code, out, errOut)
		}
	}
}

// TestInputInTheBackground reads from a terminal that another program has until it is given to this one.
func TestInputInTheBackground(t *testing.T) {
	f := newFake(t)
	keyboard, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close() //nolint:errcheck // nothing was kept in it
	terminal, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close() //nolint:errcheck // nothing was kept in it
	cmd := f.program("exec", f.claimOne(), "--", "cat")
	// A shell with job control that has the terminal, runs it in the background and waits.
	cmd.Args = append([]string{"sh", "-c", `set -m; "$@" & wait $!; echo "ended with $?"`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	f.serve(func(conn net.Conn, _ io.Reader, _ wire.ExecRequest) { f.frame(conn, wire.FrameExit, 0, 0, 0, 7) })
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "ended with 7") {
		t.Errorf("%v: %q", err, out.String())
	}
}
