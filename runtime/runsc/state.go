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

	"sandpool/lifetime/wait"
)

// Paused is what runsc notes of a paused sandbox; it is not part of the specification.
const Paused specs.ContainerState = "paused"

// lockInterval is the time between two attempts to lock what another has locked: a claim may wait for it.
const lockInterval = wait.Interval / 20

// Root is the folder where runsc keeps what it knows of the sandboxes of one of containerd's namespaces.
type Root string

// State is what runsc notes down of a sandbox, as far as it is needed.
type State struct {
	Status   specs.ContainerState `json:"status"`
	GoferPID int                  `json:"goferPid"`
	Sandbox  struct {
		ControlSocketPath string `json:"controlSocketPath"`
		PID               int    `json:"pid"` // of the sentry
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
	lock, err := lockFile(ctx, r.file(id, ".lock"), unix.LOCK_SH, true)
	if err != nil {
		return State{}, fmt.Errorf("lock runsc's state of sandbox %s: %w", id, err)
	}
	defer func() { _ = lock.Close() }()
	return r.State(id)
}

// ErrBusy is that a runsc has a sandbox locked.
var ErrBusy = errors.New("another runsc is changing the sandbox")

// Version tells one text of runsc's notes on a sandbox from another, as stat does. The zero value is that there are none.
type Version struct {
	inode   uint64
	size    int64
	changed unix.Timespec
}

// Version looks which text there is.
func (r Root) Version(id string) (Version, error) {
	var s unix.Stat_t
	err := unix.Stat(r.file(id, ".state"), &s)
	if errors.Is(err, os.ErrNotExist) {
		return Version{}, nil
	}
	if err != nil {
		return Version{}, fmt.Errorf("look at runsc's state of sandbox %s: %w", id, err)
	}
	return Version{inode: s.Ino, size: s.Size, changed: s.Mtim}, nil
}

// Status reads under runsc's lock the status that is noted, and which text says so. Without notes, and with such as a runsc left that was
// killed as it wrote, it is empty. While a runsc changes the sandbox this waits until ctx ends, or is ErrBusy.
func (r Root) Status(ctx context.Context, id string, patient bool) (specs.ContainerState, Version, error) {
	lock, err := lockFile(ctx, r.file(id, ".lock"), unix.LOCK_SH, patient)
	if errors.Is(err, os.ErrNotExist) {
		return "", Version{}, nil
	}
	if err != nil {
		return "", Version{}, fmt.Errorf("lock runsc's state of sandbox %s: %w", id, err)
	}
	defer func() { _ = lock.Close() }()
	version, err := r.Version(id)
	state, readErr := r.State(id)
	if err != nil || readErr != nil {
		return "", version, err
	}
	return state.Status, version, nil
}

// Control returns where the sentry of a sandbox takes calls. runsc takes another folder when the path in its root would be too
// long for a socket, and notes it down.
func (r Root) Control(id string) (Control, error) {
	state, err := r.State(id)
	if errors.Is(err, os.ErrNotExist) {
		return Control{}, ErrSentryGone
	}
	if err != nil {
		return Control{}, err
	}
	return state.control(id)
}

func (s State) control(id string) (Control, error) {
	if s.Sandbox.ControlSocketPath == "" {
		return Control{}, fmt.Errorf("runsc's state of sandbox %s names no socket", id)
	}
	return Control{ID: id, Socket: s.Sandbox.ControlSocketPath}, nil
}

// lockFile locks a file, against all others or with unix.LOCK_SH against those who want it for themselves alone, until it is closed. While
// another has it this waits if it is patient, or is ErrBusy.
func lockFile(ctx context.Context, path string, how int, patient bool) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		switch busy := errors.Is(err, unix.EWOULDBLOCK); {
		case busy && patient:
			err = wait.Sleep(ctx, lockInterval)
		case busy:
			err = ErrBusy
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
	}
}
