package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"sandpool/runtime/hostproc"
	"sandpool/runtime/template"
	"sandpool/scripts/testhost"
)

// saidOf asks containerd's client and runsc itself for the status of a sandbox.
func saidOf(t *testing.T, e *Engine, id string) (ctr, runsc string) {
	t.Helper()
	for _, list := range []struct {
		cmd    *exec.Cmd
		status *string
	}{
		{host.Command(t.Context(), "tasks", "ls"), &ctr},
		{exec.CommandContext(t.Context(), host.Runsc, "--root", string(e.cfg.runscRoot()), "list"), &runsc},
	} {
		out, err := list.cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v", list.cmd.Args, err)
		}
		for line := range strings.Lines(string(out)) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[0] == id {
				*list.status = fields[2]
			}
		}
	}
	return ctr, runsc
}

// TestAThousandChanges asks containerd after each change of a sandbox without its shim, and now and then its client, and runsc.
func TestAThousandChanges(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	if !e.pauses.Direct {
		t.Fatalf("the shim pauses: %q", e.Info().Warnings)
	}
	ctx, stop := context.WithCancel(t.Context())
	told := make(chan Status, 1000)
	watched := make(chan error)
	go func() {
		watched <- e.Watch(ctx, func(string, Death) {}, func(_ context.Context, _ string, to Status) { told <- to })
	}()
	awaitEvents(t, e, id, told)
	const changes = 1000
	for i := range changes / 2 {
		for _, change := range []struct {
			do         func(context.Context, string) error
			task       tasktypes.Status
			ctr, runsc string
		}{
			{e.Pause, tasktypes.Status_PAUSED, "PAUSED", "paused"},
			{e.Resume, tasktypes.Status_RUNNING, "RUNNING", "running"},
		} {
			if err := change.do(t.Context(), id); err != nil {
				t.Fatalf("change %d to %s: %v", i, change.ctr, err)
			}
			if got, err := e.taskStatus(t.Context(), id); err != nil || got != change.task {
				t.Fatalf("change %d: containerd says %s, %v; want %s", i, got, err, change.task)
			}
			if i%100 > 0 {
				continue
			}
			if ctr, runsc := saidOf(t, e, id); ctr != change.ctr || runsc != change.runsc {
				t.Errorf("change %d: ctr says %q, runsc says %q; want %q", i, ctr, runsc, change.ctr)
			}
		}
	}
	if code, out := run(t, e, id, "in", "cat"); code != 0 || out != "in" {
		t.Errorf("after all of it: exit code %d, %q", code, out)
	}
	for count := (map[Status]int{}); count[Paused] < changes/2 || count[Running] < changes/2; {
		select {
		case to := <-told:
			count[to]++
		case <-time.After(patience):
			t.Fatalf("containerd told of %v, want %d of both", count, changes/2)
		}
	}
	stop()
	if err := <-watched; err != nil {
		t.Error(err)
	}
}

// awaitEvents pauses and resumes a sandbox until it is told of that: containerd does not say since when it tells of events.
func awaitEvents(t *testing.T, e *Engine, id string, told <-chan Status) {
	t.Helper()
	for {
		if err := errors.Join(e.Pause(t.Context(), id), e.Resume(t.Context(), id)); err != nil {
			t.Fatal(err)
		}
		for waiting := time.After(time.Second); waiting != nil; {
			select {
			case to := <-told:
				if to == Running {
					return
				}
			case <-waiting:
				waiting = nil
			}
		}
	}
}

// TestPausesBesideRunsc has a runsc that was started by hand, and files that were changed by hand, in between.
func TestPausesBesideRunsc(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	byHand := func(command string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), host.Runsc, "--root", string(e.cfg.runscRoot()), command, id).CombinedOutput(); err != nil {
			t.Fatalf("runsc %s: %v: %s", command, err, out)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s: %v, want that it is refused", what, err)
		}
	}
	done := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	refused("resume of what runs", e.Resume(t.Context(), id)) // its sentry would crash
	byHand("pause")
	refused("pause of what is paused", e.Pause(t.Context(), id)) // it would take two to resume it
	done("resume of what runsc paused", e.Resume(t.Context(), id))
	done("pause", e.Pause(t.Context(), id))
	byHand("resume")
	refused("resume of what runsc resumed", e.Resume(t.Context(), id))
	if code, out := run(t, e, id, "in", "cat"); code != 0 || out != "in" {
		t.Errorf("after all of it: exit code %d, %q", code, out)
	}

	file := string(e.cfg.runscRoot()) + "/" + id + "_sandbox:" + id + ".state"
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"truncated": string(kept[:len(kept)/2]), "of another shape": `{"status":["running"]}`,
		"edited": strings.Replace(string(kept), `"running"`, `"stopped"`, 1),
	} {
		if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := e.Pause(t.Context(), id); err == nil {
			t.Errorf("%s: it was paused", name)
		}
	}
	if err := os.WriteFile(file, kept, 0o640); err != nil {
		t.Fatal(err)
	}
	var state struct {
		Sandbox struct{ ControlSocketPath string }
	}
	if err := json.Unmarshal(kept, &state); err != nil {
		t.Fatal(err)
	}
	socket := state.Sandbox.ControlSocketPath
	if err := os.Rename(socket, socket+"-"); err != nil {
		t.Fatal(err)
	}
	refused("pause without a socket", e.Pause(t.Context(), id))
	if err := os.Rename(socket+"-", socket); err != nil {
		t.Fatal(err)
	}
	if code, out := run(t, e, id, "in", "cat"); code != 0 || out != "in" {
		t.Errorf("after all of that: exit code %d, %q", code, out)
	}
	done("pause", e.Pause(t.Context(), id))
	done("resume", e.Resume(t.Context(), id))

	sentry, err := e.cfg.runscRoot().State(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := testhost.Freeze(t.Context(), sentry.Sandbox.PID); err != nil {
		t.Fatal(err)
	}
	e.cfg.PauseTimeout = 300 * time.Millisecond
	if err := e.Pause(t.Context(), id); !errdefs.IsDeadlineExceeded(err) || !strings.Contains(err.Error(), "nobody knows") {
		t.Errorf("a sentry that stalls: %v, want the deadline", err)
	}
	e.cfg.PauseTimeout = patience
	if err := e.Pause(t.Context(), id); !errdefs.IsAborted(err) {
		t.Errorf("a pause after that: %v, want that it is refused", err)
	}
	if err := unix.Kill(sentry.Sandbox.PID, unix.SIGCONT); err != nil { // and it does what it was asked to
		t.Fatal(err)
	}
	destroyWithoutForce(t, e, id)
}

// TestPausesThatWereCutOff ends pauses and resumes where a killed daemon would have, and opens another engine.
func TestPausesThatWereCutOff(t *testing.T) {
	cfg := testConfig(t)
	var at atomic.Value
	at.Store("")
	cfg.Step = func(step string) {
		if at.CompareAndSwap(step, "") {
			goruntime.Goexit()
		}
	}
	first, err := Open(t.Context(), cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := prepare(t.Context(), first, "default", template.Template{Image: "file://" + host.Image}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		step   string
		paused bool // before
		change func(*Engine, context.Context, string) error
		noted  Status
		want   Status
	}{
		{"pause locked", false, (*Engine).Pause, Running, Running},
		{"pause done", false, (*Engine).Pause, Running, Paused},
		{"resume locked", true, (*Engine).Resume, Paused, Paused},
		{"resume done", true, (*Engine).Resume, Paused, Running},
		{"task forsaken", true, (*Engine).Halt, Running, Paused},
	}
	ids := map[string]string{}
	for _, test := range tests {
		id := NewID()
		ids[test.step] = id
		if _, err := first.Start(t.Context(), id, prepared["default"], map[string]string{"sandpool.state": "test"}); err != nil {
			t.Fatal(err)
		}
		if test.paused {
			if err := first.Pause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		at.Store(test.step)
		var cut sync.WaitGroup
		cut.Go(func() { t.Errorf("%s: %v, want that it never returns", test.step, test.change(first, t.Context(), id)) })
		cut.Wait()
		if got, err := first.Status(t.Context(), id); err != nil || got != test.noted {
			t.Errorf("%s: noted is %s, %v; want %s", test.step, got, err, test.noted)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	e := openEngine(t, cfg)
	for _, test := range tests {
		id := ids[test.step]
		if got, err := e.Status(t.Context(), id); err != nil || got != test.want {
			t.Errorf("%s: it is %s, %v; want %s", test.step, got, err, test.want)
		}
		var err error
		if test.want == Running {
			err = e.Pause(t.Context(), id)
		}
		if err = errors.Join(err, e.Resume(t.Context(), id)); err != nil {
			t.Errorf("%s: %v", test.step, err)
		}
		if code, out := run(t, e, id, "in", "cat"); code != 0 || out != "in" {
			t.Errorf("%s: exit code %d, %q", test.step, code, out)
		}
		destroyWithoutForce(t, e, id)
	}
}

// TestRunscThatIsPausedByItsShimOnly has a runsc that tells the daemon something else than what was noted.
func TestRunscThatIsPausedByItsShimOnly(t *testing.T) {
	cfg := testConfig(t)
	cfg.Runsc = wrapRunsc(t, fmt.Sprintf(`[ "$1 $3" = "--root state" ] && { %s "$@" | sed s/paused/running/; exit; }`, host.Runsc))
	e := openEngine(t, cfg)
	if warnings := strings.Join(e.Info().Warnings, "\n"); e.pauses.Direct || !strings.Contains(warnings, "only the shim can pause and resume") {
		t.Errorf("direct is %v, warnings are %q; want one about the shim", e.pauses.Direct, warnings)
	}
	id := startSandbox(t, e)
	if err := errors.Join(e.Pause(t.Context(), id), e.Resume(t.Context(), id)); err != nil {
		t.Error(err)
	}
	if _, out := run(t, e, id, "in", "cat"); out != "in" {
		t.Errorf("it answers %q", out)
	}
	if !hostproc.Alive(id, hostproc.Sentry) {
		t.Error("it has no sentry")
	}
}
