package pause

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandpool/runtime/call"
	"sandpool/runtime/runsc"
	"sandpool/runtime/runsc/runsctest"
)

// patience is how long a call may take that is not to be held up.
const patience = 30 * time.Second

// fixture is a pauser, and a sandbox as runsc notes it.
type fixture struct {
	*Pauser

	id     string
	dir    string
	socket string
	calls  call.Caller
}

// newFixture makes notes with a status. Nothing here asks containerd.
func newFixture(t *testing.T, status specs.ContainerState) *fixture {
	t.Helper()
	return newFixtureOf(t, "sb-aaaaaaaaaaaaaaaa", status)
}

func newFixtureOf(t *testing.T, id string, status specs.ContainerState) *fixture {
	t.Helper()
	f := &fixture{id: id, dir: t.TempDir(), calls: call.Caller{Called: func(string, time.Duration, error) {}}}
	f.socket = filepath.Join(f.dir, "s")
	f.write(t, ".lock", "")
	f.write(t, ".state", fmt.Sprintf(`{"status":%q,"sandbox":{"controlSocketPath":%q}}`, status, f.socket))
	f.Pauser = &Pauser{life: t.Context(), cfg: Config{Root: runsc.Root(f.dir), Timeout: patience, Step: func(string) {}, Log: slog.New(slog.DiscardHandler)}}
	return f
}

func (f *fixture) path(suffix string) string {
	return filepath.Join(f.dir, f.id+"_sandbox:"+f.id+suffix)
}

func (f *fixture) write(t *testing.T, suffix, text string) {
	t.Helper()
	if err := os.WriteFile(f.path(suffix), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pause pauses the sandbox directly, within a deadline.
func (f *fixture) pause(ctx context.Context, deadline time.Duration) error {
	return f.calls.Do(ctx, deadline, call.Op{Verb: "pause", Object: "sandbox"}, func(ctx context.Context) error {
		return f.directly(ctx, f.id, f.pausing())
	})
}

// expect tells whether runsc's notes have a status, and a draft of others.
func (f *fixture) expect(t *testing.T, status specs.ContainerState, draft bool) {
	t.Helper()
	state, err := f.cfg.Root.State(f.id)
	ids, draftsErr := f.cfg.Root.Drafts()
	if err := errors.Join(err, draftsErr); err != nil || state.Status != status || len(ids) > 0 != draft {
		t.Errorf("noted is %q, drafts of %v, %v; want %q, a draft is %v", state.Status, ids, err, status, draft)
	}
}

const success = `{"success":true}`

func TestAPauseIsAskedForAndNoted(t *testing.T) {
	f := newFixture(t, specs.StateRunning)
	var asked []string
	answer := func(conn *net.UnixConn, method string) {
		asked = append(asked, method)
		f.expect(t, specs.StateRunning, true)
		_, _ = io.WriteString(conn, success)
	}
	runsctest.Sentry(t, f.socket, answer, runsctest.Says(success))
	if err := f.pause(t.Context(), patience); err != nil || len(asked) != 1 || asked[0] != "containerManager.Pause" {
		t.Errorf("asked for %v, %v", asked, err)
	}
	f.expect(t, runsc.Paused, false)
	if err := f.directly(t.Context(), f.id, f.resuming()); err != nil {
		t.Error(err)
	}
	f.expect(t, specs.StateRunning, false)
}

// TestAPauseThatDoesNotFit asks no sentry: a second pause would stay after a resume, and a resume of what runs would end it.
func TestAPauseThatDoesNotFit(t *testing.T) {
	for _, status := range []specs.ContainerState{runsc.Paused, specs.StateStopped, specs.StateCreated, "", "sleeping"} {
		f := newFixture(t, status)
		if err := f.pause(t.Context(), patience); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), fmt.Sprintf("%q", status)) {
			t.Errorf("%q: %v, want a failed precondition", status, err)
		}
		f.expect(t, status, false)
	}
	f := newFixture(t, specs.StateRunning)
	if err := f.directly(t.Context(), f.id, f.resuming()); !errdefs.IsFailedPrecondition(err) || errors.Is(err, runsc.ErrSentryGone) {
		t.Errorf("resume of what runs: %v, want a failed precondition, and that no sentry was asked", err)
	}
}

func TestNotesThatCannotBeRead(t *testing.T) {
	for name, text := range map[string]string{
		"truncated": `{"status":"runn`, "empty": ``, "another shape": `{"status":"running","sandbox":"here"}`,
		"no object": `["running"]`, "no socket": `{"status":"running","sandbox":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, specs.StateRunning)
			f.write(t, ".state", text)
			if err := f.pause(t.Context(), patience); err == nil || !strings.Contains(err.Error(), "runsc's state of sandbox "+f.id) || strings.Contains(err.Error(), "locked") {
				t.Errorf("%v, want one about runsc's state", err)
			}
			if got, err := os.ReadFile(f.path(".state")); err != nil || string(got) != text {
				t.Errorf("noted is %q, %v", got, err)
			}
		})
	}
}

func TestASandboxThatRunscDoesNotKnow(t *testing.T) {
	for _, suffix := range []string{".state", ".lock"} {
		f := newFixture(t, specs.StateRunning)
		if err := os.Remove(f.path(suffix)); err != nil {
			t.Fatal(err)
		}
		if err := f.pause(t.Context(), patience); !errdefs.IsNotFound(err) {
			t.Errorf("without %s: %v, want that it is not found", suffix, err)
		}
	}
}

// TestSentriesThatDoNotPause tells what was not done from what may have been done.
func TestSentriesThatDoNotPause(t *testing.T) {
	for name, test := range map[string]struct {
		answer runsctest.Answer // none: nobody listens
		known  bool             // that nothing was done
		want   string
	}{
		"nobody listens":     {nil, true, "could not be asked: its sentry has ended"},
		"hangs up":           {runsctest.Says(""), false, "nobody knows whether it was done: its sentry has ended"},
		"refuses":            {runsctest.Says(`{"success":false,"err":"unknown method"}`), false, "nobody knows whether it was done: the sentry says: unknown method"},
		"is no sentry":       {runsctest.Says("HTTP/1.1 400"), false, "nobody knows whether it was done: ask the sentry"},
		"does not answer":    {nil, false, "nobody knows whether it was done: multiple Read calls"},
		"answers half of it": {runsctest.Says(`{"success":`), false, "nobody knows whether it was done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, specs.StateRunning)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if name == "does not answer" {
				test.answer = func(conn *net.UnixConn, _ string) {
					cancel(io.ErrNoProgress)
					_, _ = io.Copy(io.Discard, conn)
				}
			}
			if test.answer != nil {
				runsctest.Sentry(t, f.socket, test.answer)
			}
			if err := f.pause(ctx, patience); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			f.expect(t, specs.StateRunning, !test.known)
			if test.known {
				return
			}
			if err := f.pause(t.Context(), patience); !errdefs.IsAborted(err) {
				t.Errorf("another pause: %v, want that it is refused", err)
			}
		})
	}
}

func TestAnotherProgramHasTheNotes(t *testing.T) {
	f := newFixture(t, specs.StateRunning)
	other, err := f.cfg.Root.Lock(t.Context(), f.id)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := f.pause(t.Context(), 50*time.Millisecond); !errdefs.IsDeadlineExceeded(err) || !strings.Contains(err.Error(), "another program had it locked") {
		t.Errorf("%v, want the deadline, and what it was missed for", err)
	}
	f.expect(t, specs.StateRunning, false)
}

// TestNotesThatCannotBeWritten has a name that leaves no room for that of a draft. The sentry is not asked.
func TestNotesThatCannotBeWritten(t *testing.T) {
	f := newFixtureOf(t, strings.Repeat("a", 120), specs.StateRunning)
	if err := f.pause(t.Context(), patience); !errors.Is(err, errNoDraft) || errors.Is(err, runsc.ErrSentryGone) {
		t.Errorf("%v, want that nothing was done, so that the shim may do it", err)
	}
	f.expect(t, specs.StateRunning, false)
}

// TestASentryWithAFullSocket accepts only after its socket has all that it holds.
func TestASentryWithAFullSocket(t *testing.T) {
	f := newFixture(t, specs.StateRunning)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: f.socket}), unix.Listen(fd, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	var waiting net.Conn // all that the socket holds
	if waiting, err = net.Dial("unix", f.socket); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = waiting.Close() }()
	if err := f.pause(t.Context(), 100*time.Millisecond); !errdefs.IsDeadlineExceeded(err) || !strings.Contains(err.Error(), "could not be asked") {
		t.Errorf("%v, want the deadline, and that the sentry was not asked", err)
	}
	f.expect(t, specs.StateRunning, false)
	paused := make(chan error)
	go func() { paused <- f.pause(t.Context(), patience) }()
	file := os.NewFile(uintptr(fd), "socket")
	listener, err := net.FileListener(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for range 2 {
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, success)
		defer func() { _ = conn.Close() }()
	}
	if err := <-paused; err != nil {
		t.Error(err)
	}
	f.expect(t, runsc.Paused, false)
}

// TestSettle asks sandboxes whose pause was cut off whether they run. What nobody can tell stays as it is, and is said.
func TestSettle(t *testing.T) {
	for name, test := range map[string]struct {
		answer error
		noted  specs.ContainerState
		draft  bool
	}{
		"it runs":             {nil, specs.StateRunning, false},
		"it has ended":        {fmt.Errorf("start process: %w", runsc.ErrSentryGone), runsc.Paused, true},
		"containerd has none": {errdefs.ErrNotFound, runsc.Paused, true},
		"nobody can tell":     {errors.New("broken"), runsc.Paused, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, runsc.Paused)
			f.write(t, ".state.new", "half of it")
			var asked []string
			err := f.Settle(t.Context(), func(_ context.Context, id string) error {
				asked = append(asked, id)
				return test.answer
			})
			if err != nil || len(asked) != 1 || asked[0] != f.id {
				t.Errorf("asked %v, %v", asked, err)
			}
			f.expect(t, test.noted, test.draft)
		})
	}
	f := newFixture(t, runsc.Paused)
	if err := f.Settle(t.Context(), nil); err != nil {
		t.Errorf("nothing was cut off: %v", err)
	}
}
