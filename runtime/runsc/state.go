package runsc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandpool/runtime/poll"
)

// Paused is what runsc notes of a paused sandbox; it is not part of the specification.
const Paused specs.ContainerState = "paused"

// Root is the folder where runsc keeps what it knows of the sandboxes of one of containerd's namespaces.
type Root string

// State is what runsc notes down of a sandbox, as far as it is needed.
type State struct {
	Status  specs.ContainerState `json:"status"`
	Sandbox struct {
		ControlSocketPath string `json:"controlSocketPath"`
	} `json:"sandbox"`
}

// file is one of runsc's files of a sandbox.
func (r Root) file(id, suffix string) string {
	return filepath.Join(string(r), id+"_sandbox:"+id+suffix)
}

// State reads what runsc has noted down, which it writes in place: without its lock half of it may be read. That there is nothing is
// os.ErrNotExist.
func (r Root) State(id string) (state State, err error) {
	data, err := os.ReadFile(r.file(id, ".state"))
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil {
		return state, fmt.Errorf("read runsc's state of sandbox %s: %w", id, err)
	}
	return state, nil
}

// LockedState reads what runsc has noted down under its lock: while a runsc changes the sandbox it waits for that until ctx ends.
func (r Root) LockedState(ctx context.Context, id string) (State, error) {
	lock, err := lockShared(ctx, r.file(id, ".lock"))
	if err != nil {
		return State{}, fmt.Errorf("lock runsc's state of sandbox %s: %w", id, err)
	}
	defer func() { _ = lock.Close() }()
	return r.State(id)
}

// Control returns where the sentry of a sandbox takes calls. runsc takes another folder when the path in its root would be too
// long for a socket, and notes it down.
func (r Root) Control(id string) (Control, error) {
	state, err := r.State(id)
	if errors.Is(err, os.ErrNotExist) {
		return Control{}, ErrSentryGone
	}
	if err == nil && state.Sandbox.ControlSocketPath == "" {
		err = fmt.Errorf("runsc's state of sandbox %s names no socket", id)
	}
	return Control{ID: id, Socket: state.Sandbox.ControlSocketPath}, err
}

// lockShared waits until nobody has a file locked for himself alone, and locks it against that until it is closed.
func lockShared(ctx context.Context, path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = poll.Sleep(ctx, poll.Interval)
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
	}
}
