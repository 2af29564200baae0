package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandpool/runtime/poll"
)

// statePaused is what runsc notes of a paused sandbox; it is not part of the specification.
const statePaused specs.ContainerState = "paused"

// runscState is what runsc notes down of a sandbox, as far as it is needed.
type runscState struct {
	Status  specs.ContainerState `json:"status"`
	Sandbox struct {
		ControlSocketPath string `json:"controlSocketPath"`
	} `json:"sandbox"`
}

// runscFile is one of runsc's files of a sandbox.
func (e *Engine) runscFile(id, suffix string) string {
	return filepath.Join(e.cfg.runscRoot(), e.cfg.Namespace, id+"_sandbox:"+id+suffix)
}

// runscState reads what runsc has noted down. runsc writes it in place: without its lock half of it may be read.
func (e *Engine) runscState(id string) (state runscState, err error) {
	data, err := os.ReadFile(e.runscFile(id, ".state"))
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil {
		return state, fmt.Errorf("read runsc's state of sandbox %s: %w", id, err)
	}
	return state, nil
}

// Status says what runsc has noted of a sandbox. It starts no process and asks none, as List does, so one that crashed may count as
// running. While a runsc changes the sandbox it waits for that, at most as long as a pause may take.
func (e *Engine) Status(ctx context.Context, id string) (Status, error) {
	missed := fmt.Errorf("another runsc has been pausing, resuming or ending it for %s: %w", e.cfg.PauseTimeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.PauseTimeout, missed)
	defer cancel()
	lock, err := lockShared(ctx, e.runscFile(id, ".lock"), false)
	if errors.Is(err, os.ErrNotExist) {
		return Stopped, nil
	}
	if err != nil {
		return "", fmt.Errorf("find out whether sandbox %s runs: %w", id, err)
	}
	defer func() { _ = lock.Close() }()
	state, err := e.runscState(id)
	if errors.Is(err, os.ErrNotExist) {
		return Stopped, nil
	}
	if err != nil {
		return "", err
	}
	return statusIn(state), nil
}

// statusIn is the status that runsc has noted.
func statusIn(state runscState) Status {
	switch state.Status {
	case specs.StateRunning:
		return Running
	case statePaused:
		return Paused
	default:
		return Stopped
	}
}

// lockShared waits until nobody has a file locked for himself alone, and locks it against that until it is closed. If it is to be
// hasty it does not wait, and returns errBusy.
func lockShared(ctx context.Context, path string, hasty bool) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) && hasty {
			err = errBusy
		} else if errors.Is(err, syscall.EWOULDBLOCK) {
			err = poll.Sleep(ctx, poll.Interval)
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
	}
}

// Promise notes that a sandbox is being handed out, until Fulfil; List tells of it. The note is not synced: it outlives this process,
// and a sandbox does not outlive the host either.
func (e *Engine) Promise(id string) error {
	f, err := os.OpenFile(e.cfg.sandboxFile(id, promisedSuffix), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("note that the sandbox is promised: %w", err)
	}
	return f.Close()
}

// Fulfil takes back what Promise noted.
func (e *Engine) Fulfil(id string) error {
	if err := os.Remove(e.cfg.sandboxFile(id, promisedSuffix)); err != nil {
		return fmt.Errorf("note that the sandbox is handed out: %w", err)
	}
	return nil
}

func (e *Engine) isPromised(id string) bool {
	_, err := os.Lstat(e.cfg.sandboxFile(id, promisedSuffix))
	return err == nil
}
