package pause

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/runsc"
)

// probeTime is how long a sandbox may take to answer, before it counts as frozen. One that is taken for frozen though it runs is lost
// when it is resumed, so it is long.
const probeTime = 10 * time.Second

// Settle finds out whether those sandboxes run that a daemon was pausing or resuming as it was killed, and notes it. probe returns nil once
// such a sandbox has run a command; of a frozen one it may be under way until that is resumed, or Close ends it.
func (p *Pauser) Settle(ctx context.Context, probe func(ctx context.Context, id string) error) error {
	ids, err := p.cfg.Root.Drafts()
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			status, err := p.settle(ctx, id, probe)
			if err != nil {
				p.cfg.Log.Warn("nobody knows whether a sandbox is paused", "sandbox", id, "err", err)
			} else {
				p.cfg.Log.Info("the daemon ended as it paused or resumed a sandbox", "sandbox", id, "it is", status)
			}
		})
	}
	all.Wait()
	return err
}

func (p *Pauser) settle(ctx context.Context, id string, probe func(ctx context.Context, id string) error) (specs.ContainerState, error) {
	status, err := p.find(ctx, id, probe)
	if err != nil || status == specs.StateStopped { // the sweep, or who ends it, removes all that is left of it
		return status, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	notes, err := p.cfg.Root.Lock(ctx, id)
	if err != nil {
		return "", err
	}
	defer notes.Close()
	return status, errors.Join(notes.Set(status), notes.Discard())
}

// find finds out what a sandbox does.
func (p *Pauser) find(ctx context.Context, id string, probe func(ctx context.Context, id string) error) (specs.ContainerState, error) {
	answer := make(chan error, 1)
	p.work.Go(func() { answer <- probe(p.life, id) }) // what a frozen one was asked it does when it is resumed
	timer := time.NewTimer(probeTime)
	defer timer.Stop()
	select {
	case err := <-answer:
		switch {
		case err == nil:
			return specs.StateRunning, nil
		case errors.Is(err, runsc.ErrSentryGone), errdefs.IsNotFound(err):
			return specs.StateStopped, nil
		default:
			return "", fmt.Errorf("ask it: %w", err)
		}
	case <-timer.C:
		return runsc.Paused, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
