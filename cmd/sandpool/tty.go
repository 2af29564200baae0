package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"sandpool/cmd/sandpool/input"
	"sandpool/cmd/sandpool/signals"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// execTTY lends the terminal on standard input to the command. Its keys are the command's, Ctrl-C too; a signal to this
// process ends the call, so that the terminal is given back in order.
func (a *app) execTTY(ctx context.Context, id string, req wire.ExecRequest) (code int, err error) {
	file, ok := a.in.(*os.File)
	if !ok || !isTerminal(file) {
		return 0, usageError{errors.New("-t needs a terminal on standard input")}
	}
	req.Env = input.WithTerm(req.Env)
	req.Rows, req.Cols = input.Size(int(file.Fd()))
	return a.onTerminal(file, func(control chan wire.Frame) (int, error) {
		return a.daemon.Exec(ctx, id, req, client.Stdio{In: a.in, Out: a.out, Err: a.errOut, Control: control})
	})
}

// onTerminal makes a call with a terminal in raw mode, which is told its sizes as they change.
func (a *app) onTerminal(file *os.File, call func(control chan wire.Frame) (int, error)) (code int, err error) {
	fd := int(file.Fd())
	saved, err := term.MakeRaw(fd)
	if err != nil {
		return 0, fmt.Errorf("set terminal to raw: %w", err)
	}
	defer func() {
		if restored := term.Restore(fd, saved); restored != nil {
			err = errors.Join(err, fmt.Errorf("restore terminal: %w", restored))
		}
	}()
	control := make(chan wire.Frame, 1)
	defer signals.Each(func(sig os.Signal) {
		if sig == unix.SIGTSTP {
			_ = term.Restore(fd, saved)
			signals.Suspend()
			_, _ = term.MakeRaw(fd) // a terminal that is gone by now ends the call
		}
		select {
		case <-control: // an older size that was not sent yet
		default:
		}
		control <- client.Resize(input.Size(fd))
	}, unix.SIGWINCH, unix.SIGTSTP)()
	return call(control)
}

func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
