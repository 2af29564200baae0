package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/term"

	"sandpool/cmd/sandpool/input"
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
	return input.OnTerminal(file, func(control chan wire.Frame) (int, error) {
		return a.daemon.Exec(ctx, id, req, client.Stdio{In: a.in, Out: a.out, Err: a.errOut, Control: control})
	})
}

func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
