package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
)

// eachWay runs a test with commands that the sentry starts for the engine, and with such that the shim starts.
func eachWay(t *testing.T, test func(*testing.T, *Engine)) {
	e := openEngine(t, testConfig(t))
	if !e.commands.Direct {
		t.Errorf("this runsc's sentries start no commands for the engine: %q", e.Info().Warnings)
	}
	for _, direct := range []bool{true, false} {
		t.Run(map[bool]string{true: "sentry", false: "shim"}[direct], func(t *testing.T) {
			e.commands.Direct = direct
			test(t, e)
		})
	}
}

func TestExecStreams(t *testing.T) { eachWay(t, testExecStreams) }

func testExecStreams(t *testing.T, e *Engine) {
	id := startSandbox(t, e)
	var out, errs bytes.Buffer
	in := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16) // 1 MiB, more than any pipe holds
	p, err := e.Exec(t.Context(), id, ExecSpec{
		Args: []string{"sh", "-c", "cat; pwd >&2; echo $A >&2"}, Env: []string{"A=b"}, Cwd: "/tmp",
		Stdin: bytes.NewReader(in), Stdout: &out, Stderr: &errs,
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(t.Context()); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	if !bytes.Equal(out.Bytes(), in) || errs.String() != "/tmp\nb\n" {
		t.Errorf("%d of %d bytes came back, stderr %q", out.Len(), len(in), errs.String())
	}
	if left, err := os.ReadDir(e.cfg.fifoDir()); err != nil || len(left) > 0 {
		t.Errorf("pipes are left: %v, %v", left, err)
	}
}

func TestExecTerminalAndSignals(t *testing.T) { eachWay(t, testExecTerminalAndSignals) }

func testExecTerminalAndSignals(t *testing.T, e *Engine) {
	id := startSandbox(t, e)
	var out bytes.Buffer
	input, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	p, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"sh", "-c", `until [ "$(stty size)" = "33 99" ]; do :; done; echo sized; read x; exit 3`}, TTY: true, Rows: 33, Cols: 99, Stdin: input, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := typed.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(t.Context()); code != 3 || err != nil || !strings.Contains(out.String(), "sized") {
		t.Errorf("exit code %d, %v, output %q", code, err, out.String())
	}

	p, err = e.Exec(t.Context(), id, ExecSpec{Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(t.Context()); code != 128+int(syscall.SIGTERM) || err != nil {
		t.Errorf("exit code %d, %v; want 143", code, err)
	}
	if err := p.Signal(t.Context(), syscall.SIGTERM); !errdefs.IsNotFound(err) {
		t.Errorf("a signal after the end: %v, want not found", err)
	}

	p, err = e.Exec(t.Context(), id, ExecSpec{Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	if _, err := p.Wait(ctx); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("wait: %v, want the cause", err)
	}
	if code, out := run(t, e, id, "", "sh", "-c", "cat /proc/[0-9]*/cmdline | grep 'sle[e]p'"); code == 0 {
		t.Errorf("the process of a client that left still runs: %s", out)
	}
}

func TestExecOfWhatCannotRun(t *testing.T) { eachWay(t, testExecOfWhatCannotRun) }

func testExecOfWhatCannotRun(t *testing.T, e *Engine) {
	id := startSandbox(t, e)
	for program, want := range map[string]int{"/no/such/program": 127, "no-such-program": 127, "/etc": 126} {
		if code, out := run(t, e, id, "in", program); code != want || !strings.Contains(out, program) {
			t.Errorf("%s: exit code %d, %q; want %d and its name", program, code, out, want)
		}
	}
	if _, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"true"}, Cwd: "/no/such/folder"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a folder that is not there: %v, want an invalid argument", err)
	}
}

// TestCommandThatRunscLosesIsTriedAgain fails the first attempt of runsc to start a command, as a host without processor time does.
func TestCommandThatRunscLosesIsTriedAgain(t *testing.T) {
	cfg := testConfig(t)
	lose := filepath.Join(t.TempDir(), "lose")
	cfg.Runsc = wrapRunsc(t, fmt.Sprintf(`case " $* " in *" exec "*) rm %s 2>/dev/null && exit 1;; esac`, lose))
	e := openEngine(t, cfg)
	e.commands.Direct = false
	id := startSandbox(t, e)
	if err := os.WriteFile(lose, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := run(t, e, id, "in", "sh", "-c", "cat; exit 3"); code != 3 || out != "in" {
		t.Errorf("exit code %d, %q; want 3 and the input", code, out)
	}
	if _, err := os.Stat(lose); err == nil {
		t.Error("no attempt failed")
	}
}

// TestCommandsGoOnAfterACheckpoint saves a sandbox under a command that waits for input.
func TestCommandsGoOnAfterACheckpoint(t *testing.T) { eachWay(t, testCommandsGoOnAfterACheckpoint) }

func testCommandsGoOnAfterACheckpoint(t *testing.T, e *Engine) {
	id := startSandbox(t, e)
	input, typed := io.Pipe()
	var out bytes.Buffer
	p, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"cat"}, Stdin: input, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Checkpoint(t.Context(), id, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := typed.Write([]byte("after")); err != nil {
		t.Fatal(err)
	}
	_ = typed.Close()
	if code, err := p.Wait(t.Context()); code != 0 || err != nil || out.String() != "after" {
		t.Errorf("exit code %d, %v, output %q; want 0 and the input", code, err, out.String())
	}
}
