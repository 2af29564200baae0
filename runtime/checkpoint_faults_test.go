package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"sandpool/runtime/checkpoint"
	"sandpool/runtime/resource"
	"sandpool/runtime/runsc"
)

// What is damaged cannot be restored, and leaves a sandbox that can be destroyed.
func TestRestoreOfDamagedFiles(t *testing.T) {
	e := openCounting(t, testConfig(t))
	id := startFrom(t, e, "count")
	fit, dir := take(t, e, id)
	for name, damage := range map[string]func(dir string) error{
		"state cut": func(dir string) error { return os.Truncate(filepath.Join(dir, "checkpoint.img"), 1000) },
		"state garbage": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "checkpoint.img"), make([]byte, 100000), 0o600)
		},
		"pages missing": func(dir string) error { return os.Remove(filepath.Join(dir, "pages.img")) },
		"pages cut":     func(dir string) error { return os.Truncate(filepath.Join(dir, "pages.img"), 4096) },
		"spec missing":  func(dir string) error { return os.Remove(filepath.Join(dir, specFile)) },
	} {
		t.Run(name, func(t *testing.T) {
			bad, err := os.MkdirTemp(host.Dir, "ck") //nolint:usetesting // containerd must see it
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.CopyFS(filepath.Join(bad, "x"), os.DirFS(dir)), damage(filepath.Join(bad, "x"))); err != nil {
				t.Fatal(err)
			}
			bad = filepath.Join(bad, "x")
			copied := newID(t, e)
			if _, err := e.Restore(t.Context(), copied, fit, bad, nil); err == nil {
				t.Error("no error")
			} else {
				t.Log(err)
			}
			destroyWithoutForce(t, e, copied)
		})
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	e := openCounting(t, testConfig(t))
	id := startFrom(t, e, "count")
	fit, dir := take(t, e, id)
	t.Logf("%+v", fit)
	fields := reflect.ValueOf(fit)
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		bad := fit
		reflect.ValueOf(&bad).Elem().Field(i).SetString("example.com/other")
		fresh := NewID()
		_, restoreErr := e.Restore(t.Context(), fresh, bad, dir, nil)
		for call, err := range map[string]error{
			"restore": restoreErr,
			"revive":  e.Revive(t.Context(), id, bad, dir),
		} {
			if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "example.com/other") || fields.Field(i).String() == "" {
				t.Errorf("%s with another %s: %v, want FailedPrecondition with both values", call, name, err)
			}
		}
		expectNothing(t, fresh)
	}
	if err := e.Revive(t.Context(), id, fit, dir); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "not halted") {
		t.Errorf("revival of a running sandbox: %v, want FailedPrecondition", err)
	}
	if got := statusOf(t, e, id); got != Running {
		t.Errorf("the saved sandbox is %q", got)
	}
}

func TestCheckpointsThatCannotBeTaken(t *testing.T) {
	t.Run("files on the host", func(t *testing.T) {
		cfg := testConfig(t)
		cfg.Settings["overlay2"] = runsc.Setting{Value: "none"}
		e := openEngine(t, cfg)
		_, err := e.Checkpoint(t.Context(), startSandbox(t, e), t.TempDir())
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "overlay2") {
			t.Errorf("error %v, want FailedPrecondition with the flag", err)
		}
	})
	t.Run("another runsc", func(t *testing.T) {
		e := openEngine(t, testConfig(t))
		id := startSandbox(t, e)
		old := e.info.Runsc
		e.info.Runsc += "-next"
		if _, err := e.Checkpoint(t.Context(), id, t.TempDir()); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), fmt.Sprintf("runsc was %q and is %q", old, e.info.Runsc)) {
			t.Errorf("error %v, want FailedPrecondition with both versions", err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		e := openEngine(t, testConfig(t))
		if _, err := e.Checkpoint(t.Context(), NewID(), t.TempDir()); !errdefs.IsNotFound(err) {
			t.Errorf("error %v, want NotFound", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		cfg := testConfig(t)
		cfg.Runsc = wrapRunsc(t, `case "$*" in *" checkpoint "*) exec sleep 1000;; esac`)
		cfg.CheckpointTimeout = 200 * time.Millisecond
		e := openEngine(t, cfg)
		id := startSandbox(t, e)
		if _, err := e.Checkpoint(t.Context(), id, t.TempDir()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "200ms") {
			t.Errorf("error %v, want DeadlineExceeded with the deadline", err)
		}
		if err := e.Halt(t.Context(), id); err != nil {
			t.Error(err)
		}
	})
}

// A checkpoint that does not fit on the disk fails, and the sandbox goes on.
func TestCheckpointOnAFullDisk(t *testing.T) {
	e := openCounting(t, testConfig(t))
	id := startFrom(t, e, "count")
	dir := t.TempDir()
	for name, size := range map[string]string{"state": "size=32k", "pages": "size=256k"} {
		t.Run(name, func(t *testing.T) {
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, size); err != nil {
				t.Fatal(err)
			}
			defer func() { // the sentry lets go of the files a moment later
				if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			}()
			store, err := checkpoint.Open(filepath.Join(dir, "store"), checkpoint.Options{Log: testLog(t), Step: func(string) {}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = store.Create(t.Context(), checkpoint.Manifest{}, func(ctx context.Context, dir string) (checkpoint.Compatibility, error) {
				return e.Checkpoint(ctx, id, dir)
			})
			if !errdefs.IsResourceExhausted(err) {
				t.Errorf("error %v, want ResourceExhausted", err)
			}
			word, n := awaitCount(t, e, id, 0)
			if got, m := awaitCount(t, e, id, n); got != word || m <= n {
				t.Errorf("the sandbox counts %s %d, want %s and more than %d", got, m, word, n)
			}
		})
	}
	if _, err := e.Checkpoint(t.Context(), id, t.TempDir()); err != nil {
		t.Errorf("checkpoint where there is room: %v", err)
	}
}

// Files of sandboxes that there are no more are removed; those of halted ones stay.
func TestSweepRemovesFilesOfSandboxes(t *testing.T) {
	e := openCounting(t, testConfig(t))
	id := startFrom(t, e, "count")
	fit, dir := take(t, e, id)
	if err := e.Halt(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	gone := NewID()
	files, err := e.ownFiles(gone, prepared["default"], "")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.owned.Renew(e.in(t), &resource.Spec{ID: gone, Parent: prepared["default"].parent, Files: files}); err != nil {
		t.Fatal(err)
	}
	if err := e.writeRestoreFiles(gone, dir); err != nil {
		t.Fatal(err)
	}
	if err := e.Sweep(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	expectNothing(t, gone)
	if err := e.Revive(t.Context(), id, fit, dir); err != nil {
		t.Error(err)
	}
}
