package runsc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// draftSuffix is of notes that are to replace those that there are. No name of runsc's ends so.
const draftSuffix = ".state.new"

// Notes are what runsc has noted down of a sandbox, locked: until they are closed no runsc pauses, resumes or ends it.
type Notes struct {
	State

	id     string
	path   string                     // of the file
	draft  string                     // of what is to replace it
	fields map[string]json.RawMessage // all of it
	lock   *os.File                   // closed in programs that this one starts: a runsc would wait for itself
}

// Lock reads what runsc has noted down, and locks it. While a runsc changes the sandbox it waits for that until ctx ends. That there is
// nothing is os.ErrNotExist.
func (r Root) Lock(ctx context.Context, id string) (_ *Notes, err error) {
	n := &Notes{id: id, path: r.file(id, ".state"), draft: r.file(id, draftSuffix)}
	if n.lock, err = lockFile(ctx, r.file(id, ".lock"), unix.LOCK_EX, true); err != nil {
		return nil, fmt.Errorf("lock runsc's state of sandbox %s: %w", id, err)
	}
	if err := n.read(); err != nil {
		n.Close()
		return nil, fmt.Errorf("read runsc's state of sandbox %s: %w", id, err)
	}
	return n, nil
}

func (n *Notes) read() error {
	data, err := os.ReadFile(n.path)
	if err != nil {
		return err
	}
	return errors.Join(json.Unmarshal(data, &n.State), json.Unmarshal(data, &n.fields))
}

// Close unlocks the notes.
func (n *Notes) Close() { _ = n.lock.Close() }

// Control is where the sandbox's sentry takes calls.
func (n *Notes) Control() (Control, error) { return n.control(n.id) }

// Draft writes the notes with another status, to replace those that there are when Adopt says so. Meanwhile, and after a crash, it says that
// the sandbox may have either status. That there is one already is os.ErrExist.
func (n *Notes) Draft(status specs.ContainerState) error { return n.write(n.draft, status, os.O_EXCL) }

// Set notes a status, whatever was noted before. A draft stays.
func (n *Notes) Set(status specs.ContainerState) error {
	next := n.path + ".set"
	if err := n.write(next, status, os.O_TRUNC); err != nil {
		return err
	}
	return os.Rename(next, n.path)
}

func (n *Notes) write(path string, status specs.ContainerState, flag int) error {
	var err error
	if n.fields["status"], err = json.Marshal(status); err != nil {
		return fmt.Errorf("encode runsc's state: %w", err)
	}
	data, err := json.Marshal(n.fields)
	if err != nil {
		return fmt.Errorf("encode runsc's state: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flag, 0o640) //nolint:gosec // as runsc has them
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Adopt replaces the notes by their draft.
func (n *Notes) Adopt() error { return os.Rename(n.draft, n.path) }

// Discard removes the draft.
func (n *Notes) Discard() error { return os.Remove(n.draft) }

// Drafts returns the sandboxes whose notes have a draft: a daemon was killed as it changed their status.
func (r Root) Drafts() (ids []string, _ error) {
	entries, err := os.ReadDir(string(r))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // there may have been no sandbox yet
		return nil, fmt.Errorf("look for what was cut off: %w", err)
	}
	for _, entry := range entries {
		if id, _, ok := strings.Cut(entry.Name(), "_"); ok && strings.HasSuffix(entry.Name(), draftSuffix) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
