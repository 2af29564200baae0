package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/runtime/supervisor"
	"sandpool/runtime/supervisor/protocol"
)

// supervise returns the connection to a sandbox's process 1.
func supervise(t *testing.T, e *Engine, id string) *supervisor.Conn {
	t.Helper()
	p, err := e.Processes(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p.Conn
}

// sh is a shell's command with what every program needs.
func sh(script string) supervisor.Command {
	return supervisor.Command{Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin:/sbin"}, Folder: "/"}
}

// outputOf is what a process wrote from a position on until its end, by stream, and how much of it was dropped.
func outputOf(t *testing.T, c *supervisor.Conn, pid int, from int64) (texts map[byte]string, dropped int64, end supervisor.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	f, err := c.Follow(pid, from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	texts = map[byte]string{}
	for at := from; ; {
		out, ended, err := f.Next(ctx)
		switch {
		case err != nil:
			t.Fatal(err)
		case ended != nil:
			return texts, dropped, *ended
		}
		dropped += out.Position - at
		at = out.Position + int64(len(out.Data))
		texts[out.From] += string(out.Data)
	}
}

func start(t *testing.T, c *supervisor.Conn, command supervisor.Command) int {
	t.Helper()
	p, err := c.Start(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	return p.PID
}

// await reads a process's output until it has a text in it, and returns the position behind.
func await(t *testing.T, c *supervisor.Conn, pid int, from int64, want string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	f, err := c.Follow(pid, from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for all := ""; !strings.Contains(all, want); {
		out, ended, err := f.Next(ctx)
		if err != nil || ended != nil {
			t.Fatalf("%v, %+v after %q, want %q", err, ended, all, want)
		}
		all += string(out.Data)
		from = out.Position + int64(len(out.Data))
	}
	return from
}

func TestSupervisedProcesses(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	c := supervise(t, e, id)
	for name, test := range map[string]struct {
		command supervisor.Command
		out     string
		errs    string
		code    int
	}{
		"streams":        {sh("echo out; echo err >&2; exit 3"), "out\n", "err\n", 3},
		"no input":       {sh("cat; echo end"), "end\n", "", 0},
		"a session":      {sh(`[ "$(cut -d ' ' -f 6 /proc/$$/stat)" = $$ ] && echo leader`), "leader\n", "", 0},
		"a signal":       {sh("kill -9 $$"), "", "", 137},
		"a timeout":      {supervisor.Command{Args: []string{"/bin/sleep", "1000"}, Timeout: time.Millisecond}, "", "", 124},
		"a user":         {supervisor.Command{Args: []string{"/usr/bin/id", "-u"}, User: "1234"}, "1234\n", "", 0},
		"a user's name":  {supervisor.Command{Args: []string{"/bin/sh", "-c", "id -u; id -g"}, Env: []string{"PATH=/usr/bin"}, User: "root:77"}, "0\n77\n", "", 0},
		"a path of ours": {supervisor.Command{Args: []string{"id", "-u"}, Env: []string{"PATH=:bin"}, Folder: "/usr"}, "0\n", "", 0},
		"children stay":  {sh("(sleep 1000; echo late) & echo early"), "early\n", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid := start(t, c, test.command)
			texts, dropped, end := outputOf(t, c, pid, 0)
			if texts[supervisor.Stdout] != test.out || texts[supervisor.Stderr] != test.errs || dropped != 0 || end.Code != test.code || !end.Ended {
				t.Errorf("%q, %d dropped, %+v; want %q, %q, %d", texts, dropped, end, test.out, test.errs, test.code)
			}
			again, _, _ := outputOf(t, c, pid, 1)
			if want := strings.TrimPrefix(test.out, test.out[:min(1, len(test.out))]); again[supervisor.Stdout] != want && len(test.errs) == 0 {
				t.Errorf("from position 1: %q, want %q", again, want)
			}
		})
	}
	for name, test := range map[string]struct {
		command supervisor.Command
		code    int
		want    string
	}{
		"no program":       {supervisor.Command{Args: []string{"no-such"}, Env: []string{"PATH=/bin"}}, 127, "no-such"},
		"no path":          {supervisor.Command{Args: []string{"sh"}}, 127, "sh"},
		"a folder":         {supervisor.Command{Args: []string{"/bin"}}, 126, "/bin"},
		"no folder":        {supervisor.Command{Args: []string{"/bin/true"}, Folder: "/nowhere"}, 0, "folder /nowhere: no such file"},
		"folder is a file": {supervisor.Command{Args: []string{"/bin/true"}, Folder: "/bin/busybox"}, 0, "it is no folder"},
		"no user":          {supervisor.Command{Args: []string{"/bin/true"}, User: "nobody-knows"}, 0, `user "nobody-knows" is not in the sandbox's /etc/passwd`},
		"no group":         {supervisor.Command{Args: []string{"/bin/true"}, User: "root:none"}, 0, `group "none"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Start(t.Context(), test.command)
			failed, ok := errors.AsType[*protocol.Failure](err)
			if !ok || !errdefs.IsInvalidArgument(err) || failed.Code != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %d and %q", err, test.code, test.want)
			}
		})
	}
}

func TestSupervisedInput(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	c := supervise(t, e, id)
	command := sh("wc -c")
	command.Input = true
	pid := start(t, c, command)
	if err := errors.Join(c.Input(t.Context(), pid, make([]byte, 1<<20)), c.EndInput(t.Context(), pid)); err != nil {
		t.Fatal(err)
	}
	if texts, _, _ := outputOf(t, c, pid, 0); texts[supervisor.Stdout] != "1048576\n" {
		t.Errorf("%q", texts)
	}
	if err := c.Input(t.Context(), pid, []byte("x")); !errdefs.IsNotFound(err) {
		t.Errorf("input after the end: %v", err)
	}
	deaf := sh("sleep 1000")
	deaf.Input = true
	pid = start(t, c, deaf)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := c.Input(ctx, pid, make([]byte, 1<<20)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("input that nobody reads: %v", err)
	}
	if err := c.Signal(t.Context(), pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := c.Input(t.Context(), start(t, c, sh("sleep 1000")), []byte("x")); !errdefs.IsInvalidArgument(err) {
		t.Errorf("input of one that has none: %v", err)
	}
}

func TestSupervisedTerminal(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	c := supervise(t, e, id)
	command := sh(`stty size; trap 'stty size; echo resized' WINCH; until read line; do :; done; echo "got $line"; trap 'echo interrupted; n=1' INT; echo waits; until [ $n ]; do sleep 0.1; done; cat; echo end`)
	command.TTY, command.Input, command.Rows, command.Cols = true, true, 33, 99
	pid := start(t, c, command)
	at := await(t, c, pid, 0, "33 99")
	if err := c.Resize(t.Context(), pid, 44, 88); err != nil {
		t.Fatal(err)
	}
	if err := c.Input(t.Context(), pid, []byte("typed\n")); err != nil {
		t.Fatal(err)
	}
	at = await(t, c, pid, at, "waits")
	if err := c.Input(t.Context(), pid, []byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	at = await(t, c, pid, at, "interrupted")
	if err := errors.Join(c.Input(t.Context(), pid, []byte("half")), c.EndInput(t.Context(), pid)); err != nil {
		t.Fatal(err)
	}
	texts, _, end := outputOf(t, c, pid, at)
	if text := texts[supervisor.Terminal]; !strings.Contains(text, "end") || end.Code != 0 {
		t.Errorf("%q, %+v", text, end)
	}
	if texts, _, _ := outputOf(t, c, pid, 0); !strings.Contains(texts[supervisor.Terminal], "got typed") {
		t.Errorf("%q", texts)
	}
}

// TestOutputThatNobodyReads has a process write more than is kept.
func TestOutputThatNobodyReads(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	c := supervise(t, e, id)
	const size = 5 << 20
	pid := start(t, c, sh(fmt.Sprintf("head -c %d /dev/zero; echo; echo last", size)))
	for p, err := c.Get(t.Context(), pid); !p.Ended; p, err = c.Get(t.Context(), pid) {
		if err != nil {
			t.Fatal(err)
		}
	}
	texts, dropped, end := outputOf(t, c, pid, 0)
	text := texts[supervisor.Stdout]
	if len(text) < 1<<20 || len(text) > 2<<20 || dropped+int64(len(text)) != size+6 || !strings.HasSuffix(text, "\nlast\n") || end.Code != 0 {
		t.Errorf("%d bytes, %d dropped, %+v", len(text), dropped, end)
	}
	// Single bytes of two streams by turns.
	pid = start(t, c, sh("i=0; while [ $i -lt 6000 ]; do echo; echo >&2; i=$((i+1)); done; echo last"))
	texts, _, _ = outputOf(t, c, pid, 0)
	if !strings.HasSuffix(texts[supervisor.Stdout], "\nlast\n") {
		t.Errorf("%d and %d bytes", len(texts[supervisor.Stdout]), len(texts[supervisor.Stderr]))
	}
}

// TestManySupervisedProcesses has more of them than are known when they have ended.
func TestManySupervisedProcesses(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	c := supervise(t, e, id)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			p, err := c.Start(t.Context(), supervisor.Command{Args: []string{"/bin/true"}})
			for errdefs.IsUnavailable(err) {
				p, err = c.Start(t.Context(), supervisor.Command{Args: []string{"/bin/true"}})
			}
			if err != nil || p.PID < 2 {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	all.Wait()
	pid := start(t, c, supervisor.Command{Args: []string{"/bin/sleep", "1000"}, User: "1234"})
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(p supervisor.Process) bool { return p.PID == pid })
	if i < 0 || list[i].Ended || !list[i].Supervised || list[i].User != "1234" || list[i].State == "" || list[i].Memory == 0 || !slices.Equal(list[i].Args, []string{"/bin/sleep", "1000"}) {
		t.Errorf("%d processes, that one is %d: %+v", len(list), i, list)
	}
	if err := c.Signal(t.Context(), 1, syscall.SIGKILL); !errdefs.IsInvalidArgument(err) {
		t.Errorf("killed process 1: %v", err)
	}
	if err := c.Signal(t.Context(), 1<<30, syscall.SIGTERM); !errdefs.IsNotFound(err) {
		t.Errorf("signalled nobody: %v", err)
	}
}

// TestProcessesOutliveTheDaemon has one run on while it is paused, when the daemon is another, and in a checkpoint.
func TestProcessesOutliveTheDaemon(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	c := supervise(t, e, id)
	command := sh(`while read line; do echo "got $line"; done`)
	command.Input = true
	pid := start(t, c, command)
	say := func(c *supervisor.Conn, from int64, text string) int64 {
		t.Helper()
		if err := c.Input(t.Context(), pid, []byte(text+"\n")); err != nil {
			t.Fatal(err)
		}
		return await(t, c, pid, from, "got "+text)
	}
	at := say(c, 0, "first")
	if err := e.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.Resume(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	at = say(c, at, "second")

	e.drop(id) // as of a daemon that has just started
	for !c.Lost() {
		time.Sleep(time.Millisecond)
	}
	if _, err := c.List(t.Context()); !errors.Is(err, supervisor.ErrLost) {
		t.Errorf("the old connection: %v", err)
	}
	c = supervise(t, e, id)
	at = say(c, at, "third")

	fit, dir := take(t, e, id)
	at = say(c, at, "after the checkpoint")
	restored := restore(t, e, fit, dir)
	other := supervise(t, e, restored)
	await(t, other, pid, 0, "got third")
	say(other, 0, "in the copy")
	say(c, at, "in the first")
}

// TestNoSupervisor has a sandbox whose process 1 has been killed from within, and one that knows nothing of it.
func TestNoSupervisor(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	c := supervise(t, e, id)
	run(t, e, id, "", "sh", "-c", "kill -9 1; sleep 1")
	if _, err := c.List(t.Context()); err == nil {
		t.Error("it answers")
	}
	if _, err := e.Processes(t.Context(), id); err == nil {
		t.Error("there is another")
	}
	e.commands.Direct = false
	if _, err := e.Processes(t.Context(), startSandbox(t, e)); !errdefs.IsNotImplemented(err) {
		t.Errorf("where the shim starts commands: %v", err)
	}
}

// TestGiveAtAWake gives a paused sandbox an environment over the connection from before: it has it as soon as it goes on.
func TestGiveAtAWake(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	if _, err := e.Processes(t.Context(), id); errors.Join(err, e.Pause(t.Context(), id)) != nil {
		t.Fatal(err)
	}
	given := make(chan error, 1)
	go func() { given <- e.Give(t.Context(), id, []string{"TOKEN=t0"}, false) }()
	if err := errors.Join(e.Resume(t.Context(), id), <-given); err != nil {
		t.Fatal(err)
	}
	processes, err := e.Processes(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := processes.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("beside process 1 there are %+v, %v", list, err)
	}
	if kept, err := processes.Kept(t.Context()); err != nil || !slices.Equal(kept, []string{"TOKEN=t0"}) {
		t.Errorf("it keeps %q, %v", kept, err)
	}
}

// TestAskedBeforeACheckpoint takes a checkpoint of a paused sandbox whose process 1 has been asked for something: it answers as it goes on.
func TestAskedBeforeACheckpoint(t *testing.T) {
	cfg := testConfig(t)
	asked := make(chan struct{}, 10)
	cfg.Step = func(step string) {
		if step == "process asked" {
			asked <- struct{}{}
		}
	}
	e := openEngine(t, cfg)
	id := startSandbox(t, e)
	c := supervise(t, e, id)
	if err := e.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() {
		_, err := c.Start(t.Context(), supervisor.Command{Args: []string{"/bin/true"}})
		started <- err
	}()
	<-asked
	take(t, e, id)
	if err := errors.Join(e.Resume(t.Context(), id), <-started); err != nil {
		t.Error(err)
	}
}
