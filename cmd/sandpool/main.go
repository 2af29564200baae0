// Command sandpool claims, lists, enters and releases the sandboxes of a sandpoold.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"

	"sandpool/cmd/sandpool/signals"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), signals.Heeded(signals.Ending...)...)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, errOut: errOut, terminal: out}
	defer a.daemon.Close()
	root := a.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	exit := a.exitCode(cmd.CommandPath(), err)
	if _, silent := errors.AsType[exitStatus](err); !silent {
		a.complain(err, exit)
	}
	return exit
}
