package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/runtime/checkpoint"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/template"
)

// counting is what a sandbox does whose state tells where it comes from: it writes a word that it alone knows, and counts.
const counting = `read word < /proc/sys/kernel/random/uuid; i=0; while :; do i=$((i+1)); echo $word $i > /tmp/n; sleep 0.1; done`

// openCounting opens an engine with a template "count".
func openCounting(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e := openEngine(t, cfg)
	if err := prepare(t.Context(), e, "count", template.Template{Image: "file://" + host.Image, Command: []string{"sh", "-c", counting}}); err != nil {
		t.Fatal(err)
	}
	return e
}

// awaitCount waits until a counting sandbox has counted further than from, and returns its word and number.
func awaitCount(t *testing.T, e *Engine, id string, from int) (word string, n int) {
	t.Helper()
	code, out := run(t, e, id, "", "sh", "-c", fmt.Sprintf(`until read word n < /tmp/n && [ "$n" -gt %d ]; do sleep 0.1; done 2> /dev/null; echo $word $n`, from))
	word, number, _ := strings.Cut(strings.TrimSpace(out), " ")
	n, err := strconv.Atoi(number)
	if code != 0 || err != nil {
		t.Fatalf("exit code %d, %q, %v; want a word and a number", code, out, err)
	}
	return word, n
}

// take makes a checkpoint of a sandbox.
func take(t *testing.T, e *Engine, id string) (fit checkpoint.Compatibility, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp(host.Dir, "ck") //nolint:usetesting // containerd must see it
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	fit, err = e.Checkpoint(t.Context(), id, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("checkpoint took %s", time.Since(began))
	return fit, dir
}

func restore(t *testing.T, e *Engine, fit checkpoint.Compatibility, dir string) string {
	t.Helper()
	id := newID(t, e)
	began := time.Now()
	if _, err := e.Restore(t.Context(), id, fit, dir, map[string]string{"sandpool.state": "restored"}); err != nil {
		t.Fatal(err)
	}
	t.Logf("restore took %s", time.Since(began))
	return id
}

func TestRestoredSandboxesGoOn(t *testing.T) {
	e := openCounting(t, testConfig(t))
	for _, paused := range []bool{false, true} {
		t.Run(fmt.Sprintf("paused %v", paused), func(t *testing.T) {
			id := startFrom(t, e, "count")
			word, before := awaitCount(t, e, id, 5)
			want := Running
			if paused {
				want = Paused
				if err := e.Pause(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			fit, dir := take(t, e, id)
			if got := statusOf(t, e, id); got != want {
				t.Errorf("the saved sandbox is %s, want %s", got, want)
			}
			if paused {
				if err := e.Resume(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			if got, n := awaitCount(t, e, id, before); got != word || n <= before {
				t.Errorf("the saved sandbox counts %s %d, want %s and more than %d", got, n, word, before)
			}
			for range 2 {
				copied := restore(t, e, fit, dir)
				if got := statusOf(t, e, copied); got != Running {
					t.Errorf("the restored sandbox is %s", got)
				}
				got, first := awaitCount(t, e, copied, 0)
				if got != word || first < before {
					t.Errorf("the restored sandbox counts %s %d, want %s and at least %d", got, first, word, before)
				}
				if _, n := awaitCount(t, e, copied, first); n <= first {
					t.Errorf("the restored sandbox stands still at %d", n)
				}
				if code, out := run(t, e, copied, "", "hostname"); code != 0 || out != copied+"\n" {
					t.Errorf("hostname %q, want %s", out, copied)
				}
				if err := e.Pause(t.Context(), copied); err != nil {
					t.Error(err)
				}
				if err := e.Destroy(t.Context(), copied); err != nil {
					t.Error(err)
				}
				expectNothing(t, copied)
			}
		})
	}
}

func TestManyRestoresAtOnce(t *testing.T) {
	e := openCounting(t, testConfig(t))
	id := startFrom(t, e, "count")
	word, before := awaitCount(t, e, id, 5)
	fit, dir := take(t, e, id)
	var all sync.WaitGroup
	copies := make([]string, 5)
	for i := range copies {
		copies[i] = newID(t, e)
		all.Go(func() {
			began := time.Now()
			if _, err := e.Restore(t.Context(), copies[i], fit, dir, nil); err != nil {
				t.Error(err)
			}
			t.Logf("restore took %s", time.Since(began))
		})
	}
	all.Wait()
	for _, copied := range copies {
		if got, n := awaitCount(t, e, copied, 0); got != word || n < before {
			t.Errorf("%s counts %s %d, want %s and at least %d", copied, got, n, word, before)
		}
	}
}

// A restored sandbox can be saved in its turn.
func TestCheckpointOfARestoredSandbox(t *testing.T) {
	e := openCounting(t, testConfig(t))
	id := startFrom(t, e, "count")
	fit, dir := take(t, e, id)
	child := restore(t, e, fit, dir)
	word, n := awaitCount(t, e, child, 5)
	childFit, childDir := take(t, e, child)
	if childFit != fit {
		t.Errorf("fit %+v, want %+v", childFit, fit)
	}
	grandchild := restore(t, e, childFit, childDir)
	if got, m := awaitCount(t, e, grandchild, 0); got != word || m < n {
		t.Errorf("the grandchild counts %s %d, want %s and at least %d", got, m, word, n)
	}
}

func TestFilesAreRestored(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	if code, out := run(t, e, id, "", "sh", "-c", "echo a > /root-file; echo b > /dev/shm/b; echo c > /etc/passwd; rm /etc/group; mkdir -p /d/e"); code != 0 {
		t.Fatal(out)
	}
	fit, dir := take(t, e, id)
	copied := restore(t, e, fit, dir)
	if code, out := run(t, e, copied, "", "sh", "-c", "cat /root-file /dev/shm/b /etc/passwd; test ! -e /etc/group && test -d /d/e && sh -c 'echo new > /d/e/f'"); code != 0 || out != "a\nb\nc\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
}

func TestHaltedSandboxIsRevived(t *testing.T) {
	e := openCounting(t, testConfig(t))
	tests := map[string]func(t *testing.T, id string){
		"running": func(*testing.T, string) {},
		"paused": func(t *testing.T, id string) {
			if err := e.Pause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		},
		"shim killed": func(t *testing.T, id string) {
			if err := hostproc.Kill(t.Context(), id, hostproc.Shim); err != nil {
				t.Fatal(err)
			}
		},
		"all killed": func(t *testing.T, id string) {
			if err := hostproc.Kill(t.Context(), id, hostproc.Working...); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, before := range tests {
		t.Run(name, func(t *testing.T) {
			id := startFrom(t, e, "count")
			word, n := awaitCount(t, e, id, 5)
			if err := e.Label(t.Context(), id, map[string]string{"sandpool.claim": "c-1"}); err != nil {
				t.Fatal(err)
			}
			fit, dir := take(t, e, id)
			before(t, id)
			for range 2 {
				began := time.Now()
				if err := e.Halt(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				t.Logf("halt took %s", time.Since(began))
				if left := servants(t, id); len(left) > 0 {
					t.Errorf("processes are left: %q", left)
				}
			}
			if got := statusOf(t, e, id); got != Stopped {
				t.Errorf("the halted sandbox is %s", got)
			}
			if err := e.Sweep(t.Context(), func(string) bool { return false }); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := e.Revive(t.Context(), id, fit, dir); err != nil {
				t.Fatal(err)
			}
			t.Logf("revival took %s", time.Since(began))
			if got, m := awaitCount(t, e, id, 0); got != word || m < n {
				t.Errorf("the revived sandbox counts %s %d, want %s and at least %d", got, m, word, n)
			}
			listed, err := e.List(t.Context())
			if err != nil || len(listed) != 1 || listed[0].Status != Running || listed[0].Labels["sandpool.claim"] != "c-1" {
				t.Errorf("list: %+v, %v; want it running with its label", listed, err)
			}
			if _, err := e.Checkpoint(t.Context(), id, t.TempDir()); err != nil {
				t.Errorf("checkpoint after the revival: %v", err)
			}
			if err := e.Halt(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := e.Revive(t.Context(), id, fit, dir); err != nil {
				t.Errorf("second revival: %v", err)
			}
			if err := e.Destroy(t.Context(), id); err != nil {
				t.Error(err)
			}
			expectNothing(t, id)
		})
	}
}

// A daemon that was started again saves and revives what an earlier one started.
func TestCheckpointsAcrossEngines(t *testing.T) {
	cfg := testConfig(t)
	first, err := Open(t.Context(), cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	template := template.Template{Image: "file://" + host.Image, Command: []string{"sh", "-c", counting}}
	id := NewID()
	if err := prepare(t.Context(), first, "count", template); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Start(t.Context(), id, prepared["count"], nil); err != nil {
		t.Fatal(err)
	}
	word, n := awaitCount(t, first, id, 5)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	fit, dir := take(t, second, id)
	if err := errors.Join(second.Halt(t.Context(), id), second.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(cfg.shimDir()); err != nil { // as when the host is started again
		t.Fatal(err)
	}
	third := openEngine(t, cfg)
	if err := third.Revive(t.Context(), id, fit, dir); err != nil {
		t.Fatal(err)
	}
	if got, m := awaitCount(t, third, id, 0); got != word || m < n {
		t.Errorf("the revived sandbox counts %s %d, want %s and at least %d", got, m, word, n)
	}
	if again, err := third.Checkpoint(t.Context(), id, t.TempDir()); err != nil || again != fit {
		t.Errorf("checkpoint after the revival: %+v, %v; want %+v", again, err, fit)
	}
	destroyWithoutForce(t, third, id)
}
