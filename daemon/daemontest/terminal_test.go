package daemontest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// typist is a command with a terminal, which somebody types to.
type typist struct {
	lockedBuffer
	typed   *io.PipeWriter
	control chan wire.Frame
	leave   context.CancelFunc
	ended   chan struct{}
	code    int
	err     error
}

func typeTo(t *testing.T, d *client.Client, id string, req wire.ExecRequest) *typist {
	t.Helper()
	ctx, leave := context.WithTimeout(t.Context(), patience)
	in, typed := io.Pipe()
	term := &typist{typed: typed, control: make(chan wire.Frame, 4), leave: leave, ended: make(chan struct{})}
	req.TTY, req.Rows, req.Cols = true, 33, 77
	go func() {
		defer close(term.ended)
		term.code, term.err = d.Exec(ctx, id, req, client.Stdio{In: in, Out: term, Control: term.control})
		_ = in.Close()
	}()
	t.Cleanup(leave)
	return term
}

// typing types some text once the other is shown.
func (term *typist) typing(t *testing.T, seen, text string) {
	t.Helper()
	await(t, "it shows "+seen, func() bool { return strings.Contains(term.String(), seen) })
	if _, err := io.WriteString(term.typed, text); err != nil {
		t.Error(err)
	}
}

func (term *typist) wantEnd(t *testing.T, code int, shown string) {
	t.Helper()
	<-term.ended
	if term.err != nil || term.code != code || !strings.Contains(term.String(), shown) {
		t.Errorf("it ended with %d, %v, want %d; it shows %q, want %q", term.code, term.err, code, term.String(), shown)
	}
}

// TestTerminals does with commands on a terminal what people do. Process 1 starts them all.
func TestTerminals(t *testing.T) {
	d := start(t, testConfig(t, 1, 1))
	c := claim(t, d.Client, wire.ClaimRequest{})
	open := func(t *testing.T, args ...string) *typist {
		t.Helper()
		return typeTo(t, d.Client, c.ID, wire.ExecRequest{Args: args})
	}
	t.Run("how they end", func(t *testing.T) {
		for name, test := range map[string]struct {
			args  []string
			code  int
			shown string
		}{
			"code":       {[]string{"sh", "-c", "exit 7"}, 7, ""},
			"signal":     {[]string{"sh", "-c", "kill -KILL $$"}, 137, ""},
			"none":       {[]string{"no-such-program"}, 127, "sandpool-init: run no-such-program: executable file not found in $PATH\r\n"},
			"no program": {[]string{"/bin"}, 126, "permission denied\r\n"},
			"size":       {[]string{"sh", "-c", "stty size; test -t 0 && test -t 1 && test -t 2 && test -c $(tty) && echo all >/dev/tty"}, 0, "33 77\r\nall\r\n"},
			"home":       {[]string{"sh", "-c", "echo $HOME"}, 0, "/root\r\n"},
			"much":       {[]string{"sh", "-c", "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done; echo last; exit 4"}, 4, "29999\r\nlast\r\n"},
		} {
			term := open(t, test.args...)
			if term.wantEnd(t, test.code, test.shown); t.Failed() {
				t.Fatalf("of %s", name)
			}
			if text := term.String(); name == "much" && strings.Count(text, "\r\n") != 30001 {
				t.Errorf("%d of 30001 lines arrived", strings.Count(text, "\r\n"))
			}
		}
	})
	t.Run("keys", func(t *testing.T) { // those that send signals, to a shell that has jobs
		term := open(t, "sh")
		for i, key := range []string{"\x03", "\x1c", "\x1a"} {
			sleep := fmt.Sprintf("sleep 6161%d", i)
			await(t, "the shell asks", func() bool { return strings.Count(term.String(), "# ") > i })
			term.typing(t, "", sleep+"\n")
			awaitProcess(t, d.Client, c.ID, sleep, true)
			if term.typing(t, "", key); key != "\x1a" {
				awaitProcess(t, d.Client, c.ID, sleep, false)
			}
		}
		await(t, "it has stopped", func() bool {
			return strings.Contains(term.String(), "Stopped") && strings.Count(term.String(), "# ") > 3
		})
		term.typing(t, "", "kill -9 $(pidof sleep)\n")
		awaitProcess(t, d.Client, c.ID, "sleep 61612", false)
		await(t, "the shell asks", func() bool { return strings.Count(term.String(), "# ") > 4 })
		term.typing(t, "", "\n") // it looks after its jobs before it asks; while it takes one for stopped it stays
		term.typing(t, "Killed", "")
		term.typing(t, "", "exit 5\n")
		term.wantEnd(t, 5, "")
	})
	t.Run("keys behind what nobody reads", func(t *testing.T) { // gVisor looks at none of them before the line is read
		term := open(t, "sh", "-c", "trap 'echo told' INT; sleep 6262; read line; echo got $line; exit 6")
		awaitProcess(t, d.Client, c.ID, "sleep 6262", true)
		term.typing(t, "", "unread\nand more")
		term.typing(t, "unread\r\n", "\x03kept\n") // the echo: process 1 has all of it
		awaitProcess(t, d.Client, c.ID, "sleep 6262", false)
		term.wantEnd(t, 6, "got kept\r\n")
		if text := term.String(); !strings.Contains(text, "told\r\n") {
			t.Errorf("the shell was not told: %q", text)
		}
	})
	t.Run("signals and size", func(t *testing.T) {
		term := open(t, "sh", "-c", `trap 'stty size; echo resized' WINCH; trap 'echo one' USR1; trap 'exit 9' TERM; while :; do sleep 63636; done & echo ready; while :; do wait; done`)
		term.typing(t, "ready", "")
		awaitProcess(t, d.Client, c.ID, "sleep 63636", true)
		term.control <- client.Resize(44, 88)
		term.typing(t, "44 88\r\nresized", "")
		term.control <- client.Signal(syscall.SIGUSR1) // which would end sleep
		term.typing(t, "one", "")
		awaitProcess(t, d.Client, c.ID, "sleep 63636", true)
		term.control <- client.Signal(syscall.SIGTERM)
		term.wantEnd(t, 9, "")
		awaitProcess(t, d.Client, c.ID, "sleep 63636", false)
	})
	t.Run("it hangs up with its command", func(t *testing.T) {
		term := open(t, "sh", "-c", `(trap 'echo >/tmp/hung-up; exit' HUP; echo ready; while :; do sleep 0.1; done) & read x; exit 3`)
		term.typing(t, "ready", "\n")
		term.wantEnd(t, 3, "")
		await(t, "the rest is told", func() bool {
			code, _, err := output(t.Context(), d.Client, c.ID, "", "test", "-e", "/tmp/hung-up")
			return err == nil && code == 0
		})
	})
	t.Run("a client that leaves", func(t *testing.T) {
		term := open(t, "sh", "-c", `trap '' HUP; (setsid sleep 64646 &); sleep 65656 & echo ready; sleep 65656`)
		term.typing(t, "ready", "")
		awaitProcess(t, d.Client, c.ID, "sleep 65656", true)
		awaitProcess(t, d.Client, c.ID, "sleep 64646", true) // then it is of another session
		term.leave()
		awaitProcess(t, d.Client, c.ID, "sleep 65656", false)
		awaitProcess(t, d.Client, c.ID, "sleep 64646", true)
	})
	await(t, "no process is kept that nobody asks for", func() bool {
		list, err := d.Processes(t.Context(), c.ID)
		return err == nil && len(list) == 1
	})
	t.Run("keys behind what another client could not give", func(t *testing.T) {
		p, err := d.StartProcess(t.Context(), c.ID, wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: []string{"sleep", "6363"}, TTY: true}})
		if err != nil {
			t.Fatal(err)
		}
		paste := []byte(strings.Repeat("nobody reads it\n", 4<<10))
		await(t, "the terminal takes no more", func() bool { // a client that waits for it leaves
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			defer leave()
			err := d.FeedProcess(ctx, c.ID, p.PID, paste)
			return err != nil && strings.Contains(err.Error(), "has not taken its earlier input")
		})
		in, typed := io.Pipe()
		go func() {
			for _, text := range []string{"a", "b\x03"} {
				_, _ = io.WriteString(typed, text)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if code, err := d.Attach(ctx, c.ID, p.PID, 0, client.Stdio{In: in, Out: io.Discard}); err != nil || code != 130 {
			t.Errorf("it ended with %d, %v", code, err)
		}
		_ = in.Close()
	})
	if info, err := d.Info(t.Context()); err != nil || len(info.Warnings) > 0 {
		t.Errorf("warnings: %q, %v", info.Warnings, err)
	}
}

// awaitProcess waits until a process with these arguments runs, or until none does.
func awaitProcess(t *testing.T, d *client.Client, id, args string, want bool) {
	t.Helper()
	await(t, args+" begins or ends", func() bool {
		list, err := d.Processes(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return want == slices.ContainsFunc(list, func(p wire.Process) bool {
			return p.ExitCode == nil && p.State != "Z" && strings.Join(p.Args, " ") == args
		})
	})
}
