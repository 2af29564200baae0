package command

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/containerd/errdefs"

	"sandpool/runtime/call"
	"sandpool/runtime/runsc"
	"sandpool/runtime/supervisor/protocol"
	"sandpool/runtime/template"
)

// Signal sends a signal to the process's group, or with a terminal to its foreground group; one that is not sent to groups goes to the
// process alone. A process that has ended is an error of class NotFound.
func (p *Process) Signal(ctx context.Context, signal syscall.Signal) error {
	return p.in.do(ctx, "signal", "process", func(ctx context.Context) error {
		switch {
		case !protocol.ToGroup(signal):
			return p.signal(ctx, signal)
		case p.tty:
			return p.signalGroup(ctx, signal, runsc.ToForeground)
		default:
			return p.signalGroup(ctx, signal, runsc.ToGroup)
		}
	})
}

// signalGroup signals a process group. As long as the process has not ended, its number is that of no other group.
func (p *Process) signalGroup(ctx context.Context, signal syscall.Signal, to runsc.Delivery) error {
	switch {
	case p.hasEnded():
		return errdefs.ErrNotFound.WithMessage("the process has ended")
	case p.pid == 0, p.alone:
		return p.signal(ctx, signal)
	case !p.in.starter.Direct:
		return p.in.signalInside(ctx, p.pid, signal)
	}
	control, err := p.in.Sentry()
	if err == nil {
		err = control.Signal(ctx, p.pid, signal, to)
	}
	if err != nil && p.hasEnded() {
		return errdefs.ErrNotFound.WithMessage("the process has ended")
	}
	return err
}

// signalInside has the sandbox's init signal the group of a process; SIGKILL is for all of its session.
func (s *Target) signalInside(ctx context.Context, pid int32, signal syscall.Signal) error {
	args := []string{template.InitPath, "signal", strconv.Itoa(int(signal)), strconv.Itoa(int(pid))}
	return s.MustSucceed(ctx, Spec{Args: args, Root: true, alone: true})
}

// kill kills the process and all of its session, and returns when the process has ended. Children of a process that ended by itself
// live on.
func (p *Process) kill(ctx context.Context) error {
	err := p.signalGroup(ctx, syscall.SIGKILL, runsc.ToGroup)
	if errdefs.IsNotFound(call.Native(err)) || errors.Is(err, runsc.ErrSentryGone) {
		return nil
	}
	if err == nil {
		_, err = p.await(ctx)
	}
	if err != nil || p.alone || p.pid == 0 {
		return err
	}
	// Other groups of the session keep its number from being given to another one.
	if err := p.in.signalInside(ctx, p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, runsc.ErrSentryGone) {
		return fmt.Errorf("kill session: %w", err)
	}
	return nil
}
