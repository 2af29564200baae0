package runsc

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const noted = `{"id":"sb-a","status":"running","spec":{"process":{"args":["a<b","\u00e9"]},"big":12345678901234567890.5},"goferPid":7,"sandbox":{"pid":8,"controlSocketPath":"/s"},"more":[null,{}]}`

// writeNotes makes runsc's files of a sandbox.
func writeNotes(t *testing.T, id, text string) Root {
	t.Helper()
	root := Root(t.TempDir())
	for suffix, text := range map[string]string{".state": text, ".lock": ""} {
		if err := os.WriteFile(root.file(id, suffix), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// decode reads what is noted, with all that only runsc knows.
func decode(t *testing.T, root Root, id string) (all map[string]any) {
	t.Helper()
	data, err := os.ReadFile(root.file(id, ".state"))
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestNotesKeepWhatOnlyRunscKnows(t *testing.T) {
	root := writeNotes(t, "sb-a", noted)
	want := decode(t, root, "sb-a")
	n, err := root.Lock(t.Context(), "sb-a")
	if err != nil {
		t.Fatal(err)
	}
	if n.Status != specs.StateRunning || n.GoferPID != 7 || n.Sandbox.PID != 8 {
		t.Errorf("read %+v", n.State)
	}
	if err := n.Draft(Paused); err != nil {
		t.Fatal(err)
	}
	if err := n.Draft(Paused); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second draft: %v", err)
	}
	if got := decode(t, root, "sb-a"); !reflect.DeepEqual(got, want) {
		t.Errorf("a draft changed the notes to %v", got)
	}
	if ids, err := root.Drafts(); err != nil || !slices.Equal(ids, []string{"sb-a"}) {
		t.Errorf("drafts: %v, %v", ids, err)
	}
	if err := n.Adopt(); err != nil {
		t.Fatal(err)
	}
	want["status"] = "paused"
	if got := decode(t, root, "sb-a"); !reflect.DeepEqual(got, want) {
		t.Errorf("noted is %v, want %v", got, want)
	}
	if err := errors.Join(n.Draft(Paused), n.Set(specs.StateRunning)); err != nil {
		t.Errorf("beside a draft: %v", err)
	}
	if ids, err := root.Drafts(); err != nil || len(ids) != 1 {
		t.Errorf("drafts: %v, %v; want that it stays", ids, err)
	}
	if err := n.Discard(); err != nil {
		t.Error(err)
	}
	n.Close()
	if ids, err := root.Drafts(); err != nil || len(ids) > 0 {
		t.Errorf("drafts: %v, %v", ids, err)
	}
	if s, err := root.LockedState(t.Context(), "sb-a"); err != nil || s.Status != specs.StateRunning {
		t.Errorf("noted is %+v, %v", s, err)
	}
	if ids, err := Root(filepath.Join(t.TempDir(), "none")).Drafts(); err != nil || len(ids) > 0 {
		t.Errorf("drafts in no folder: %v, %v", ids, err)
	}
}

// TestLockedNotes has another program lock the notes, in a description of its own as another process has it.
func TestLockedNotes(t *testing.T) {
	root := writeNotes(t, "sb-a", noted)
	for name, how := range map[string]int{"to read": unix.LOCK_SH, "to change": unix.LOCK_EX} {
		t.Run(name, func(t *testing.T) {
			other, err := lockFile(t.Context(), root.file("sb-a", ".lock"), how, false)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := root.Lock(ctx, "sb-a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("locked: %v, want the deadline", err)
			}
			unlocked := make(chan error)
			go func() {
				n, err := root.Lock(t.Context(), "sb-a")
				if err == nil {
					n.Close()
				}
				unlocked <- err
			}()
			if err := errors.Join(other.Close(), <-unlocked); err != nil {
				t.Error(err)
			}
		})
	}
}
