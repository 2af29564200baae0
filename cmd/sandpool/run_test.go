package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
)

// left is how many claims there are.
func (f *fakeDaemon) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.claims)
}

// madeAll is how many there ever were.
func (f *fakeDaemon) madeAll() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

// TestRun looks at what is asked for, at the exit code, and at what is left: no claim.
func TestRun(t *testing.T) {
	f := newFake(t)
	var asked wire.ExecRequest
	f.exec = func(conn net.Conn, _ io.Reader, req wire.ExecRequest) {
		asked = req
		f.frame(conn, wire.FrameStdout, []byte("out")...)
		f.frame(conn, wire.FrameExit, 0, 0, 0, 42)
	}
	code, out, errOut := f.sandpool("run", "--rm", "-n", "--template", "go", "-e", "A=b", "--label", "job=17", "--timeout", "1m", "-u", "bob", "ls", "-la", "--rm")
	if code != 42 || out != "out" || !strings.HasPrefix(errOut, "c1: sandbox") || f.left() != 0 {
		t.Errorf("exit %d, stdout %q, stderr %q, %d claims are left", code, out, errOut, f.left())
	}
	if want := []string{"ls", "-la", "--rm"}; !reflect.DeepEqual(asked.Args, want) || asked.User != "bob" || asked.Timeout == nil || len(asked.Env) > 0 {
		t.Errorf("asked for %+v, want %v", asked, want)
	}
	if f.last.Template != "go" || !reflect.DeepEqual(f.last.Env, []string{"A=b"}) || f.last.Metadata["job"] != "17" || f.last.RequestID == "" {
		t.Errorf("claimed %+v", f.last)
	}
	f.exec = nil
	if code, out, _ := f.sandpool("run", "--rm=false", "-n", "--", "true"); code != 0 || out != "" || f.left() != 1 {
		t.Errorf("--rm=false: exit %d, stdout %q, %d claims are left", code, out, f.left())
	}
	if code, out, _ := f.sandpool("run", "-d", "--", "true"); code != 0 || out != "c3\n" || f.left() != 2 || !reflect.DeepEqual(f.last.Command, []string{"true"}) {
		t.Errorf("-d: exit %d, stdout %q, claimed %+v", code, out, f.last)
	}
	if code, _, _ := f.sandpool("run", "-t", "--", "sh"); code != exitOwnUsage || f.left() != 2 {
		t.Errorf("without a terminal: exit %d, %d claims are left", code, f.left())
	}
}

// TestRunReleasesWhenInterrupted ends a run by each signal once its command runs: the command gets it, and the claim is gone in the end.
func TestRunReleasesWhenInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		f := newFake(t)
		cmd := f.program("run", "-n", "--", "sleep", "9")
		started := make(chan int, 1)
		f.serve(func(conn net.Conn, stream io.Reader, _ wire.ExecRequest) {
			if err := syscall.Kill(<-started, sig); err != nil {
				t.Error(err)
			}
			if got := next(t, stream); len(got.Payload) != 1 || syscall.Signal(got.Payload[0]) != sig {
				t.Errorf("got %v, want %s", got, sig)
			}
			f.frame(conn, wire.FrameExit, 0, 0, 0, 128+byte(sig))
		})
		_ = runTold(cmd, started)
		if code := cmd.ProcessState.ExitCode(); code != 128+int(sig) || f.left() != 0 || f.madeAll() != 1 {
			t.Errorf("%s: exit %d, %d of %d claims are left", sig, code, f.left(), f.madeAll())
		}
	}
}

// TestRunReleasesWhatItDidNotWaitFor ends a run after the daemon made its claim and before it answers.
func TestRunReleasesWhatItDidNotWaitFor(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.claimed = cancel
	var out, errOut strings.Builder
	if code := run(ctx, []string{"--socket", f.socket, "run", "true"}, strings.NewReader(""), &out, &errOut); code != exitOwnError || f.madeAll() != 1 || f.left() != 0 {
		t.Errorf("exit %d, %d of %d claims are left: %s", code, f.left(), f.madeAll(), errOut.String())
	}
}

// TestRunReleasesWhatTheDaemonDidNotAnswer breaks the connection after the daemon made a claim: it is released, with --rm=false too.
func TestRunReleasesWhatTheDaemonDidNotAnswer(t *testing.T) {
	f := newFake(t)
	f.claimed = func() {}
	for _, line := range []string{"run true", "run --rm=false true"} {
		if code, _, errOut := f.sandpool(strings.Split(line, " ")...); code != exitOwnError || f.left() != 0 {
			t.Errorf("%s: exit %d, %d of %d claims are left: %s", line, code, f.left(), f.madeAll(), errOut)
		}
	}
}

// TestRunReleasesWhenNobodyReads has the reader of its output end, as `head` does.
func TestRunReleasesWhenNobodyReads(t *testing.T) {
	f := newFake(t)
	cmd := f.program("run", "-n", "--", "yes")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = writer
	f.serve(func(conn net.Conn, _ io.Reader, _ wire.ExecRequest) {
		_ = reader.Close()
		f.frame(conn, wire.FrameStdout, []byte("y\n")...)
	})
	_ = cmd.Run()
	_ = writer.Close()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(unix.SIGPIPE) || f.left() != 0 || f.madeAll() != 1 {
		t.Errorf("%s: %d of %d claims are left", cmd.ProcessState, f.left(), f.madeAll())
	}
}

// TestExecCommandLines has flags in front of the claim, behind it, and in the command.
func TestExecCommandLines(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	var asked wire.ExecRequest
	f.exec = func(conn net.Conn, _ io.Reader, req wire.ExecRequest) {
		asked = req
		f.frame(conn, wire.FrameExit, 0, 0, 0, 0)
	}
	for line, want := range map[string]wire.ExecRequest{
		id + " ls -la":                           {Args: []string{"ls", "-la"}},
		id + " -- ls -la":                        {Args: []string{"ls", "-la"}},
		"-i -u bob " + id + " ls -u":             {Args: []string{"ls", "-u"}, User: "bob"},
		id + " -w /tmp -- git log -- -w":         {Args: []string{"git", "log", "--", "-w"}, Cwd: "/tmp"},
		id + " -w /tmp git log -- x":             {Args: []string{"git", "log", "--", "x"}, Cwd: "/tmp"},
		"-e A=1 " + id + " -e B=2 env":           {Args: []string{"env"}, Env: []string{"A=1", "B=2"}},
		"-- " + id + " ls -l":                    {Args: []string{"ls", "-l"}},
		id + " --user=bob --no-stdin -- true -d": {Args: []string{"true", "-d"}, User: "bob"},
	} {
		asked = wire.ExecRequest{}
		if code, _, errOut := f.sandpool(append([]string{"exec"}, strings.Split(line, " ")...)...); code != 0 || !reflect.DeepEqual(asked, want) {
			t.Errorf("%s: exit %d, %s, asked for %+v, want %+v", line, code, errOut, asked, want)
		}
	}
	if code, out, _ := f.sandpool("exec", id, "--help"); code != 0 || !strings.Contains(out, "Run a command in a claimed sandbox") {
		t.Errorf("help: exit %d, %q", code, out)
	}
}

// TestExecTellsOfTheClaimsEnd has the claim end under a command that is killed.
func TestExecTellsOfTheClaimsEnd(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	f.exec = func(conn net.Conn, _ io.Reader, _ wire.ExecRequest) {
		f.mu.Lock()
		delete(f.claims, id)
		f.mu.Unlock()
		f.frame(conn, wire.FrameExit, 0, 0, 0, 137)
	}
	if code, _, errOut := f.sandpool("exec", id, "sleep", "9"); code != 137 || errOut != "sandpool: claim "+id+" ended while the command ran\n" {
		t.Errorf("exit %d, stderr %q", code, errOut)
	}
}

func TestErrorsInJSON(t *testing.T) {
	f := newFake(t)
	for line, want := range map[string]failure{
		"--json ls x":                       {404, wire.CodeNotFound, "get x: no such claim", exitNotFound},
		"--json exec x true":                {404, wire.CodeNotFound, "no such claim", exitOwnNotFound},
		"ls -o yaml x":                      {404, wire.CodeNotFound, "get x: no such claim", exitNotFound},
		"--json release":                    {0, "usage", whichClaim + ", and --all releases them all", exitUsage},
		"--json --socket /nowhere info":     {0, "unreachable", "no sandpoold at /nowhere: no such file or directory: is it running?", exitUnreachable},
		"--json bench --template none":      {0, "error", "bench: template none has no pool: there is no warm claim of it, so --warm must be 0", exitError},
		"claim --json --template empty":     {503, wire.CodePoolEmpty, "none left", exitPoolEmpty},
		"run --json --template quota -- ls": {429, wire.CodeQuota, "too many", exitOwnPoolEmpty},
	} {
		code, out, errOut := f.sandpool(strings.Split(line, " ")...)
		var got failure
		if err := json.Unmarshal([]byte(errOut), &got); err != nil || code != want.Exit || got != want || out != "" || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%s: exit %d, %v, stdout %q, stderr %s", line, code, err, out, errOut)
		}
	}
}

func TestWait(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	for _, line := range []string{"wait " + id + " 17", "wait " + id} {
		if code, out, errOut := f.sandpool(strings.Split(line, " ")...); code != 0 || out != "7\n" || errOut != "" {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", line, code, out, errOut)
		}
	}
}

// TestReleaseSideBySide has a daemon that answers no release until two are under way.
func TestReleaseSideBySide(t *testing.T) {
	f := newFake(t)
	ids := []string{f.claimOne(), f.claimOne(), f.claimOne()}
	f.releasing = make(chan struct{})
	f.claims[ids[2]] = wire.Claim{ID: ids[2], Template: "other"}
	if code, _, errOut := f.sandpool("rm", "--all", "--template", ""); code != exitUsage || f.left() != 3 {
		t.Errorf("with a template of no name: exit %d, stderr %q, %d claims are left", code, errOut, f.left())
	}
	if code, out, errOut := f.sandpool("rm", "--all", "--template", "default"); code != 0 || out != ids[0]+"\n"+ids[1]+"\n" || f.left() != 1 {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, errOut)
	}
}

// TestReleaseAllOfOneThatEnds has a claim end by itself between the list and its release. Asked for by its id, it is an error.
func TestReleaseAllOfOneThatEnds(t *testing.T) {
	f := newFake(t)
	ids := []string{f.claimOne(), f.claimOne()}
	f.listed = func() { delete(f.claims, ids[0]) }
	if code, _, errOut := f.sandpool("release", "--all"); code != 0 || errOut != "" || f.left() != 0 {
		t.Errorf("exit %d, stderr %q, %d claims are left", code, errOut, f.left())
	}
	if code, _, errOut := f.sandpool("release", ids[0]); code != exitNotFound {
		t.Errorf("by its id: exit %d, stderr %q", code, errOut)
	}
}

func TestListings(t *testing.T) {
	f := newFake(t)
	a, b := f.claimOne(), f.claimOne()
	dead := f.claims[b]
	dead.State, dead.Template = wire.ClaimDead, "go"
	f.claims[b] = dead
	for line, want := range map[string]string{
		"ls -q":                       a + " " + b,
		"ps -q":                       a + " " + b,
		"ls -o name --sort template":  a + " " + b,
		"ls -q --sort age":            b + " " + a,
		"ls -q --state dead":          b,
		"list -q --template default":  a,
		"pools -q":                    "local:default",
		"ps -q " + a:                  "1 17*",
		"ls -o yaml --template other": "claims: []",
		"checkpoints -q":              "",
	} {
		code, out, errOut := f.sandpool(strings.Split(line, " ")...)
		if got := strings.Join(strings.Fields(out), " "); code != 0 || got != want {
			t.Errorf("%s: exit %d, %q, %s; want %q", line, code, got, errOut, want)
		}
	}
	if code, out, _ := f.sandpool("inspect", a); code != 0 || !strings.Contains(out, `"source": "pool"`) {
		t.Errorf("inspect: exit %d, %s", code, out)
	}
	if code, out, _ := f.sandpool("ls", "-o", "wide"); code != 0 || !strings.Contains(out, "SANDBOX") {
		t.Errorf("wide: exit %d, %s", code, out)
	}
}

// TestFallbackThatCannotBe claims cold with --fallback where no template generic is.
func TestFallbackThatCannotBe(t *testing.T) {
	f := newFake(t)
	f.pool.Available = 0
	if code, out, errOut := f.sandpool("claim", "--fallback"); code != 0 || out != "c1\n" || !strings.HasSuffix(errOut, "sandpool: --fallback did nothing: there is no template generic\n") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, errOut)
	}
}
