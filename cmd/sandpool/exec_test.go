package main

import (
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/term"

	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

func TestExec(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	f.exec = func(conn net.Conn, stream io.Reader, req wire.ExecRequest) {
		if want := (wire.ExecRequest{Args: []string{"sh", "-c", "x"}, Env: []string{"A=1", "B=2,3"}, Cwd: "/tmp"}); !reflect.DeepEqual(req, want) {
			t.Errorf("asked for %+v, want %+v", req, want)
		}
		frame, err := wire.ReadFrame(stream)
		if err != nil || frame.Kind != wire.FrameStdin {
			t.Errorf("frame %v, %v", frame, err)
		}
		f.frame(conn, wire.FrameStdout, frame.Payload...)
		f.frame(conn, wire.FrameStderr, []byte("oops")...)
		f.frame(conn, wire.FrameExit, 0, 0, 0, 42)
	}
	code, out, errOut := f.sandpoolWith(strings.NewReader("hello"), "exec", "-e", "A=1", "-e", "B=2,3", "-w", "/tmp", id, "--", "sh", "-c", "x")
	if code != 42 || out != "hello" || errOut != "oops" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, errOut)
	}
}

// TestExecDetached gives the command to the sandbox's init, and none of its own input to it.
func TestExecDetached(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	var started wire.ProcessRequest
	f.start = func(req wire.ProcessRequest) { started = req }
	if code, out, errOut := f.sandpoolWith(strings.NewReader("not for it"), "exec", "-d", "-i", "-u", "bob", "--timeout", "1m", "-w", "/tmp", "-e", "A=b", id, "--", "sleep", "9"); code != 0 || out != "17\n" || errOut != "" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, errOut)
	}
	want := wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: []string{"sleep", "9"}, Env: []string{"A=b"}, Cwd: "/tmp", User: "bob", Timeout: new(lifetime.Duration(time.Minute))}, Input: true}
	if !reflect.DeepEqual(started, want) {
		t.Errorf("asked for %+v, want %+v", started, want)
	}
	for flags, want := range map[string][]string{
		"--detach --log /tmp/log -w /tmp": {"/.sandpool/init", "spawn", "--log", "/tmp/log", "--", "sleep", "9"},
	} {
		f.exec = func(conn net.Conn, stream io.Reader, req wire.ExecRequest) {
			if !reflect.DeepEqual(req.Args, want) || (req.Cwd == "/tmp") != strings.Contains(flags, "-w") {
				t.Errorf("%s: asked for %+v, want %v", flags, req, want)
			}
			if frame, err := wire.ReadFrame(stream); err != nil || len(frame.Payload) > 0 {
				t.Errorf("%s: input %q, %v; want none", flags, frame.Payload, err)
			}
			f.frame(conn, wire.FrameStdout, []byte("17\n")...)
			f.frame(conn, wire.FrameExit, 0, 0, 0, 0)
		}
		args := append(append([]string{"exec"}, strings.Fields(flags)...), id, "--", "sleep", "9")
		if code, out, errOut := f.sandpoolWith(strings.NewReader("not for it"), args...); code != 0 || out != "17\n" || errOut != "" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", flags, code, out, errOut)
		}
	}
}

func TestExitCodeThatIsTooLarge(t *testing.T) {
	f := newFake(t)
	f.exec = func(conn net.Conn, _ io.Reader, _ wire.ExecRequest) { f.frame(conn, wire.FrameExit, 0, 0, 1, 0) }
	if code, _, _ := f.sandpool("exec", f.claimOne(), "true"); code != 255 {
		t.Errorf("exit %d, want 255 rather than a success", code)
	}
}

// next returns the next frame that is not input.
func next(t *testing.T, stream io.Reader) wire.Frame {
	for {
		frame, err := wire.ReadFrame(stream)
		if err != nil {
			t.Error(err)
			return frame
		}
		if frame.Kind != wire.FrameStdin {
			return frame
		}
	}
}

func TestExecWithTerminal(t *testing.T) {
	f := newFake(t)
	t.Setenv("TERM", "vt100")
	keyboard, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close() //nolint:errcheck // nothing was kept in it
	terminal, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close() //nolint:errcheck // nothing was kept in it
	if err := keyboard.Resize(console.WinSize{Height: 30, Width: 100}); err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		t.Fatal(err)
	}

	f.exec = func(conn net.Conn, stream io.Reader, req wire.ExecRequest) {
		if want := (wire.ExecRequest{Args: []string{"sh"}, Env: []string{"TERM=vt100"}, TTY: true, Rows: 30, Cols: 100}); !reflect.DeepEqual(req, want) {
			t.Errorf("asked for %+v, want %+v", req, want)
		}
		// A control character and no end of line: only a raw terminal lets it through.
		if _, err := keyboard.Write([]byte{3}); err != nil {
			t.Error(err)
		}
		if frame, err := wire.ReadFrame(stream); err != nil || string(frame.Payload) != "\x03" {
			t.Errorf("typed %q, %v", frame.Payload, err)
		}
		if err := keyboard.Resize(console.WinSize{Height: 40, Width: 120}); err != nil {
			t.Error(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
			t.Error(err)
		}
		if got, want := next(t, stream), (wire.Frame{Kind: wire.FrameResize, Payload: []byte{0, 40, 0, 120}}); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		f.frame(conn, wire.FrameExit, 0, 0, 0, 5)
	}
	if code, _, errOut := f.sandpoolWith(terminal, "exec", "-t", f.claimOne(), "--", "sh"); code != 5 {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if after, err := term.GetState(int(terminal.Fd())); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("the terminal is left as %+v, %v; was %+v", after, err, before)
	}
}
