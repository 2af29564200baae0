package daemontest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// shout is a command that repeats what it is told.
var shout = wire.ExecRequest{Args: []string{"sh", "-c", `while read line; do echo "got $line"; done; echo bye >&2; exit 3`}}

// TestDetachedProcesses works with commands that outlive their clients and a daemon that is killed, as users do: by the command.
func TestDetachedProcesses(t *testing.T) {
	program := realCommand(t)
	cfg := testConfig(t, 1, 1)
	file := writeConfig(t, cfg)
	p := spawn(t, realDaemon(t), file, cfg.Daemon.Socket)
	d := &client.Client{Socket: cfg.Daemon.Socket}
	defer d.Close()
	c := claim(t, d, wire.ClaimRequest{})
	command := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), program, append([]string{"--socket", cfg.Daemon.Socket}, args...)...)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		out, err := command(args...).CombinedOutput()
		if code := testExit(err); code != want {
			t.Errorf("%v: exit code %d, want %d: %s", args, code, want, out)
		}
		return string(out)
	}
	pid := strings.TrimSpace(run(0, append([]string{"exec", "-d", "-i", c.ID, "--"}, shout.Args...)...))
	number, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	var followed lockedBuffer
	follower := command("logs", "-f", c.ID, pid)
	follower.Stdout, follower.Stderr = &followed, &followed
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	feed := func(text string) {
		t.Helper()
		if err := d.FeedProcess(t.Context(), c.ID, number, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	feed("one\n")
	await(t, "the log shows what it was told", func() bool { return strings.Contains(followed.String(), "got one\n") })
	if out := run(0, "ps", c.ID); !strings.Contains(out, pid+"*") || !strings.Contains(out, "while read line") {
		t.Errorf("ps shows %s", out)
	}
	p.Kill()
	d.Close()
	p = spawn(t, realDaemon(t), file, cfg.Daemon.Socket)
	feed("two\n")
	await(t, "the log goes on after the restart", func() bool { return strings.Contains(followed.String(), "got two\n") })

	attached := command("attach", c.ID, pid)
	attached.Stdin = strings.NewReader("three\n")
	var seen lockedBuffer
	attached.Stdout, attached.Stderr = &seen, &seen
	if err := attached.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "it is attached", func() bool { return strings.Contains(seen.String(), "got one\ngot two\ngot three\n") })
	feed("")
	if code := testExit(attached.Wait()); code != 3 || !strings.HasSuffix(seen.String(), "bye\n") {
		t.Errorf("attach ended with %d: %s", code, seen.String())
	}
	if err := follower.Wait(); err != nil || strings.Count(followed.String(), "got ") != 3 {
		t.Errorf("logs ended with %v: %s", err, followed.String())
	}
	if out := run(0, "logs", "--since", "8", c.ID, pid); out != "got two\ngot three\nbye\n" {
		t.Errorf("the log since position 8 is %q", out)
	}
	if out := run(0, "ps", c.ID); !strings.Contains(out, "exited 3") {
		t.Errorf("ps shows %s", out)
	}
	run(3, "kill", c.ID, pid)
	run(3, "logs", c.ID, "999999")
	run(127, "exec", "-d", c.ID, "--", "no-such-program")
	run(126, "exec", "-d", c.ID, "--", "/bin")
	if out := run(120, "exec", "-d", "-u", "nobody-knows", c.ID, "--", "true"); !strings.Contains(out, "/etc/passwd") {
		t.Errorf("of an unknown user it says %s", out)
	}
	if out := run(0, "exec", "-u", "1234:77", c.ID, "--", "sh", "-c", "id -u; id -g; cat"); out != "1234\n77\n" {
		t.Errorf("as another user: %q", out)
	}
	if out := run(0, "exec", "--ulimit", "nofile=100:200", "--ulimit", "core=0", c.ID, "--", "sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c"); out != "100\n200\n0\n" {
		t.Errorf("with limits: %q", out)
	}
	sleeper := strings.TrimSpace(run(0, "exec", "-d", c.ID, "--", "sleep", "100000"))
	run(0, "kill", "-s", "KILL", c.ID, sleeper)
	await(t, "the killed one has ended", func() bool {
		n, _ := strconv.Atoi(sleeper)
		p, err := d.Process(t.Context(), c.ID, n)
		return err == nil && p.ExitCode != nil && *p.ExitCode == 137
	})
	run(124, "exec", "--timeout", "100ms", c.ID, "--", "sh", "-c", "sleep 313131 & sleep 100000")
	if out := run(0, "ps", c.ID); strings.Contains(strings.ReplaceAll(out, "sleep 313131 & sleep", ""), "313131") {
		t.Errorf("what the command had started lives on: %s", out)
	}
	if err := p.Stop(patience); err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
	checkNothingLeft(t)
}

// TestCommandsOfProcess1 runs commands that are another user's, or have an end, with all that other commands can do.
func TestCommandsOfProcess1(t *testing.T) {
	d := start(t, testConfig(t, 1, 1))
	c := claim(t, d.Client, wire.ClaimRequest{})
	long := lifetime.Duration(time.Hour)
	request := func(script string) wire.ExecRequest {
		return wire.ExecRequest{Args: []string{"sh", "-c", script}, Timeout: &long}
	}
	t.Run("all output arrives at a slow reader", func(t *testing.T) {
		var out int
		// It reads nothing until the command has written all that is kept, and gives it the time to write more.
		full := sync.OnceFunc(func() {
			await(t, "the command has filled what is kept", func() bool { return written(t, d.Client, c.ID) >= 1<<20 })
			for range 200 {
				written(t, d.Client, c.ID)
			}
		})
		slow := writerFunc(func(b []byte) (int, error) {
			full()
			out += len(b)
			return len(b), nil
		})
		code, err := d.Exec(t.Context(), c.ID, request(fmt.Sprintf("head -c %d /dev/zero; i=0; while [ $i -lt 20000 ]; do echo; echo >&2; i=$((i+1)); done", 8<<20)), client.Stdio{Out: slow, Err: slow})
		if err != nil || code != 0 || out != 8<<20+40000 {
			t.Errorf("exit code %d, %v, %d bytes", code, err, out)
		}
	})
	t.Run("input", func(t *testing.T) {
		var out bytes.Buffer
		code, err := d.Exec(t.Context(), c.ID, request("wc -c"), client.Stdio{In: bytes.NewReader(make([]byte, 3<<20)), Out: &out})
		if err != nil || code != 0 || out.String() != "3145728\n" {
			t.Errorf("exit code %d, %v, %q", code, err, out.String())
		}
	})
	t.Run("limits", func(t *testing.T) {
		const show = "ulimit -n; ulimit -Hn; ulimit -c; ulimit -u"
		for name, test := range map[string]struct {
			req  wire.ExecRequest
			want string
		}{
			"":            {wire.ExecRequest{Rlimits: map[string]string{"nofile": "100:200", "core": "0"}}, "100 200 0 unlimited"},
			"another's":   {wire.ExecRequest{Rlimits: map[string]string{"nofile": "100"}, User: "1234"}, "100 100 unlimited unlimited"},
			"on terminal": {wire.ExecRequest{Rlimits: map[string]string{"nproc": "64:-1"}, TTY: true}, "65536 1048576 unlimited 64"},
		} {
			var out bytes.Buffer
			test.req.Args = []string{"sh", "-c", show}
			code, err := d.Exec(t.Context(), c.ID, test.req, client.Stdio{Out: &out, Err: &out})
			if got := strings.Join(strings.Fields(out.String()), " "); err != nil || code != 0 || got != test.want {
				t.Errorf("%s: exit code %d, %v, %q, want %q", name, code, err, got, test.want)
			}
		}
		_, err := d.Exec(t.Context(), c.ID, wire.ExecRequest{Args: []string{"true"}, Rlimits: map[string]string{"nofile": "64:9999999"}}, client.Stdio{})
		if wantError(t, err, "invalid_argument"); err == nil || !strings.Contains(err.Error(), "nofile=64:9999999: the hard limit is above the sandbox's own, 1048576") {
			t.Errorf("a limit above the sandbox's: %v", err)
		}
	})
	t.Run("a client that leaves", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		began := writerFunc(func(b []byte) (int, error) { leave(); return len(b), nil })
		if _, err := d.Exec(ctx, c.ID, request("echo began; sleep 424242"), client.Stdio{Out: began}); err == nil {
			t.Error("it ended well")
		}
		await(t, "the command is killed", func() bool {
			list, err := d.Processes(t.Context(), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range list {
				if p.ExitCode == nil && strings.Contains(strings.Join(p.Args, " "), "424242") {
					return false
				}
			}
			return true
		})
	})
	t.Run("bad requests", func(t *testing.T) {
		u := newUser(t, d.Socket, 0)
		path := "/v1/claims/" + c.ID + "/processes"
		for _, test := range []struct{ method, path, body, code string }{
			{"POST", path, `{}`, "invalid_argument"},
			{"POST", path, `{"args":["true"],"timeout":"0s"}`, "invalid_argument"},
			{"POST", path, `{"args":["true"],"cwd":"x"}`, "invalid_argument"},
			{"POST", path, `{"args":["true"],"rlimits":{"files":"1"}}`, "invalid_argument"},
			{"POST", path, `{"args":["true"],"rlimits":{"nofile":"2:1"}}`, "invalid_argument"},
			{"POST", path, `{"args":["true"],"rlimits":{"nofile":"x"}}`, "invalid_argument"},
			{"POST", path, `{"args":["true"],"rlimits":{"nofile":"1048577"}}`, "invalid_argument"},
			{"POST", path, `{"args":["no-such-program"],"rlimits":{"nofile":"64"}}`, "command_not_found"},
			{"POST", path, `{"args":["true"],"cwd":"/nowhere"}`, "invalid_argument"},
			{"POST", path, `{"args":["true"],"user":"` + strings.Repeat("a", 257) + `"}`, "invalid_argument"},
			{"GET", path + "/x", "", "invalid_argument"},
			{"GET", path + "/0", "", "invalid_argument"},
			{"GET", path + "/99999", "", "not_found"},
			{"GET", path + "/99999/output", "", "not_found"},
			{"GET", path + "/99999/output?since=-1", "", "invalid_argument"},
			{"GET", path + "/99999/output?x=1", "", "invalid_argument"},
			{"POST", path + "/99999/signal", `{"signal":65}`, "invalid_argument"},
			{"POST", path + "/99999/signal", `{"signal":9}`, "not_found"},
			{"POST", path + "/1/signal", `{"signal":9}`, "invalid_argument"},
			{"POST", path + "/99999/input", "x", "not_found"},
			{"POST", path + "/99999/resize", `{"rows":1,"cols":1}`, "not_found"},
			{"POST", path + "/99999/attach", "", "upgrade_required"},
			{"DELETE", path, "", "method_not_allowed"},
		} {
			if _, answer := u.ask(t, test.method, test.path, test.body); !strings.Contains(answer, `"`+test.code+`"`) {
				t.Errorf("%s %s %s: %s, want %s", test.method, test.path, test.body, answer, test.code)
			}
		}
	})
}

// written is how much the processes of a sandbox have written that live.
func written(t *testing.T, c *client.Client, id string) (all int64) {
	t.Helper()
	list, err := c.Processes(t.Context(), id)
	if err != nil {
		t.Error(err)
	}
	for _, p := range list {
		if p.Supervised && p.ExitCode == nil {
			all += p.OutputNext
		}
	}
	return all
}

// lockedBuffer is a buffer that a program fills while it is read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(data)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// testExit is the exit code of a program, -1 if it has none.
func testExit(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as package exec gives it
		return exit.ExitCode()
	}
	return -1
}
