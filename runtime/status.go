package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/runsc"
)

// Status says what runsc has noted of a sandbox. It starts no process and asks none, as List does, so one that crashed may count as
// running. While a runsc changes the sandbox it waits for that, at most as long as a pause may take.
func (e *Engine) Status(ctx context.Context, id string) (Status, error) {
	missed := fmt.Errorf("another runsc has been pausing, resuming or ending it for %s: %w", e.cfg.PauseTimeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.PauseTimeout, missed)
	defer cancel()
	state, err := e.cfg.runscRoot().LockedState(ctx, id)
	if errors.Is(err, os.ErrNotExist) {
		return Stopped, nil
	}
	if err != nil {
		return "", fmt.Errorf("find out whether sandbox %s runs: %w", id, err)
	}
	return statusFrom(state.Status), nil
}

// statusFrom is what runsc has noted, in our words.
func statusFrom(noted specs.ContainerState) Status {
	switch noted {
	case specs.StateRunning:
		return Running
	case runsc.Paused:
		return Paused
	default:
		return Stopped
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
