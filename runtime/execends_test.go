package runtime

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sandpool/runtime/command"
	"sandpool/runtime/template"
)

// output keeps what commands write, and tells of the first of it.
type output struct {
	mu    sync.Mutex
	kept  command.LastWords
	begun chan struct{} // closed by the first write
}

func newOutput() *output { return &output{begun: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.begun:
	default:
		close(o.begun)
	}
	return o.kept.Write(b)
}

// begin starts a command and returns when it has written something.
func begin(t *testing.T, e *Engine, id string, spec ExecSpec) (*Process, *output) {
	t.Helper()
	out := newOutput()
	spec.Stdout, spec.Stderr = out, out
	p, err := e.Exec(t.Context(), id, spec)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-out.begun:
	case <-time.After(patience):
		t.Error("the command wrote nothing")
	}
	return p, out
}

// finish waits for a command's end.
func finish(t *testing.T, p *Process) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	code, err := p.Wait(ctx)
	if err != nil {
		t.Errorf("wait: %v", err)
	}
	return code
}

// awaitIn runs a shell's condition in a sandbox until it holds.
func awaitIn(t *testing.T, e *Engine, id, condition string) {
	t.Helper()
	script := `i=0; until ` + condition + `; do i=$((i+1)); [ $i -lt 600 ] || exit 1; usleep 50000; done`
	if code, out := run(t, e, id, "", "sh", "-c", script); code != 0 {
		_, all := run(t, e, id, "", "ps")
		t.Errorf("waited in vain for %s: %s\n%s", condition, out, all)
	}
}

// runs is a condition: whether a process with these arguments runs. The brackets keep it from finding itself.
func runs(args string) string {
	return `ps | grep -q '[` + args[:1] + `]` + args[1:] + `'`
}

// TestExecEndsWithItsCommand has commands that leave children behind.
func TestExecEndsWithItsCommand(t *testing.T) { eachWay(t, testExecEndsWithItsCommand) }

func testExecEndsWithItsCommand(t *testing.T, e *Engine) {
	id := startSandbox(t, e)
	for name, test := range map[string]struct {
		child string
		lives string // a condition that holds only if it goes on without a broken pipe; $was is how many lines /tmp/NAME had
		end   string
	}{
		"silent":  {`sleep 5551`, runs("sleep 5551"), `kill $(pidof sleep)`},
		"talking": {`while [ ! -e /tmp/stop ]; do echo tick; echo x >>/tmp/talking; usleep 300000; done`, `[ $(wc -l </tmp/talking) -gt $((was + 3)) ]`, `touch /tmp/stop`},
		"flooding": {`while [ ! -e /tmp/end ]; do head -c 300000 /dev/zero | tr '\0' y; echo x >>/tmp/flooding; done`,
			`[ $(wc -l </tmp/flooding) -gt $((was + 3)) ]`, `touch /tmp/end`},
	} {
		t.Run(name, func(t *testing.T) {
			p, out := begin(t, e, id, ExecSpec{Args: []string{"sh", "-c", `echo first; (` + test.child + `) & exit 3`}})
			if code := finish(t, p); code != 3 {
				t.Errorf("exit code %d, want 3", code)
			}
			if name != "flooding" && !strings.HasPrefix(string(out.kept.Bytes()), "first\n") {
				t.Errorf("output is %q", out.kept.End())
			}
			script := `was=$(cat /tmp/` + name + ` 2>/dev/null | wc -l); i=0; until ` + test.lives +
				`; do i=$((i+1)); [ $i -lt 600 ] || exit 1; usleep 50000; done; ` + test.end
			if code, out := run(t, e, id, "", "sh", "-c", script); code != 0 {
				_, all := run(t, e, id, "", "ps")
				t.Errorf("the child does not go on: %s\n%s", out, all)
			}
		})
	}
	t.Run("terminal", func(t *testing.T) { // which hangs up with its command
		p, out := begin(t, e, id, ExecSpec{TTY: true, Args: []string{"sh", "-c", `echo first; (while :; do echo tick; usleep 300000; done) & exit 3`}})
		if code := finish(t, p); code != 3 || !strings.HasPrefix(string(out.kept.Bytes()), "first\r\n") {
			t.Errorf("exit code %d, output %q; want 3", code, out.kept.End())
		}
	})
}

// TestCommandsEndWhole ends commands that have children, by a signal and by leaving.
func TestCommandsEndWhole(t *testing.T) { eachWay(t, testCommandsEndWhole) }

func testCommandsEndWhole(t *testing.T, e *Engine) {
	id := startSandbox(t, e)
	left := errors.New("the client left")
	for name, spec := range map[string]ExecSpec{"pipes": {}, "terminal": {TTY: true}} {
		t.Run(name, func(t *testing.T) {
			spec.Args = []string{"sh", "-c", `trap '' HUP; setsid sleep 8880 & sleep 7771 & (set -m; sleep 7772 & sleep 7773) & (while :; do :; done) & echo; wait`}
			p, _ := begin(t, e, id, spec)
			awaitIn(t, e, id, runs("sleep 7773")+` && `+runs("sleep 8880"))
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(left)
			if _, err := p.Wait(ctx); !errors.Is(err, left) {
				t.Errorf("wait: %v, want the cause", err)
			}
			_, all := run(t, e, id, "", "ps")
			if strings.Contains(all, "777") || strings.Contains(all, "while") {
				t.Errorf("the command goes on:\n%s", all)
			}
			if !strings.Contains(all, "8880") {
				t.Errorf("a process of another session is gone:\n%s", all)
			}
			run(t, e, id, "", "sh", "-c", "kill $(pidof sleep)")

			spec.Args = []string{"sh", "-c", "echo; sleep 6661; echo after"}
			p, out := begin(t, e, id, spec)
			awaitIn(t, e, id, runs("sleep 6661"))
			if err := p.Signal(t.Context(), syscall.SIGINT); err != nil {
				t.Error(err)
			}
			if code := finish(t, p); code != 128+int(syscall.SIGINT) || strings.Contains(string(out.kept.Bytes()), "after") {
				t.Errorf("exit code %d, output %q; want 130 and none", code, out.kept.End())
			}
			if _, all := run(t, e, id, "", "ps"); strings.Contains(all, "6661") {
				t.Errorf("what the signal was for goes on:\n%s", all)
			}
		})
	}
}

// TestExecInput has commands that take no input, or that wait for its end.
func TestExecInput(t *testing.T) { eachWay(t, testExecInput) }

func testExecInput(t *testing.T, e *Engine) {
	id := startSandbox(t, e)
	t.Run("closed by the command", func(t *testing.T) {
		if !e.commands.Direct {
			return // the shim's runsc keeps the other end of the pipe open
		}
		input, feed := io.Pipe()
		p, _ := begin(t, e, id, ExecSpec{Args: []string{"sh", "-c", `exec 0<&-; echo; sleep 4441`}, Stdin: input})
		ended := context.AfterFunc(t.Context(), func() { _ = input.Close() })
		defer ended()
		guard := time.AfterFunc(patience, func() { _ = input.CloseWithError(errors.New("input is not taken any more")) })
		defer guard.Stop()
		for range 40 { // more than all pipes on the way hold
			if _, err := feed.Write(bytes.Repeat([]byte("y\n"), 16<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Signal(t.Context(), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if code := finish(t, p); code != 128+int(syscall.SIGTERM) {
			t.Errorf("exit code %d", code)
		}
		_ = input.Close()
	})
	for name, test := range map[string]struct{ in, want string }{
		"lines":     {"hi\n", "hi\r\nhi\r\n"},
		"half line": {"hi", "hihi"},
		"nothing":   {"", ""},
	} {
		t.Run("terminal, "+name, func(t *testing.T) {
			var out bytes.Buffer
			p, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"cat"}, TTY: true, Stdin: strings.NewReader(test.in), Stdout: &out})
			if err != nil {
				t.Fatal(err)
			}
			if code := finish(t, p); code != 0 || out.String() != test.want {
				t.Errorf("exit code %d, output %q; want 0, %q", code, out.String(), test.want)
			}
		})
	}
}

// TestCommandsAreFoundAsByAShell has PATHs that lead to the command's own folder.
func TestCommandsAreFoundAsByAShell(t *testing.T) { eachWay(t, testCommandsAreFoundAsByAShell) }

func testCommandsAreFoundAsByAShell(t *testing.T, e *Engine) {
	id := startSandbox(t, e)
	make := `mkdir -p /tmp/a/bin; for p in a/bin/hello a/hello a/bin/ls; do printf '#!/bin/sh\necho hi $p\n' >/tmp/$p; chmod +x /tmp/$p; done`
	if code, out := run(t, e, id, "", "sh", "-c", make); code != 0 {
		t.Fatal(out)
	}
	for path, command := range map[string]string{"./bin:/bin": "hello", "/bin:bin": "hello", ":/bin": "hello", "/bin:": "hello", "bin:/bin": "ls", "": "hello"} {
		for _, tty := range []bool{false, true} {
			var out bytes.Buffer
			p, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{command}, Cwd: "/tmp/a", Env: []string{"PATH=" + path}, TTY: tty, Stdout: &out})
			if err != nil {
				t.Fatal(err)
			}
			if code := finish(t, p); code != 0 || strings.TrimSpace(out.String()) != "hi" {
				t.Errorf("PATH=%s %s, terminal %v: exit code %d, %q; want 0, hi", path, command, tty, code, out.String())
			}
		}
	}
	spawn := `cd /tmp/a; PATH=./bin:/bin /.sandpool/init spawn --log /tmp/log -- hello && until grep hi /tmp/log; do usleep 20000; done`
	if code, out := run(t, e, id, "", "sh", "-c", spawn); code != 0 {
		t.Errorf("spawn: exit code %d, %q", code, out)
	}
	t.Run("of the template", func(t *testing.T) {
		template := template.Template{Image: "file://" + host.Image, Cwd: "/usr", Env: []string{"PATH=../bin"}, Command: []string{"sleep", "1000000"}}
		if err := prepare(t.Context(), e, "relative", template); err != nil {
			t.Fatal(err)
		}
		startFrom(t, e, "relative")
	})
}
