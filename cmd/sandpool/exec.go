package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func (a *app) execCommand() *cobra.Command {
	var req wire.ExecRequest
	var detach bool
	var log string
	cmd := &cobra.Command{
		Use:   "exec ID -- COMMAND [ARG...]",
		Short: "Run a command in a claimed sandbox",
		Long: "Run a command in a claimed sandbox, with this command's input, output and errors. SIGINT, SIGTERM and SIGHUP are passed on to it.\n\n" +
			"With --detach the command runs on by itself as a child of the sandbox's init, without input, and standard output gets its process\n" +
			"id alone. Such a command is part of checkpoints; any other is not, and ends with the connection.\n\n" +
			"The exit code is the command's, 127 when there is no such command, 126 when it cannot be run, or 125 for any error of sandpool's own.",
		Args: cobra.MinimumNArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp // the sandbox's files are not ours
			}
			return a.completeClaims(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Args = args[1:]
			switch {
			case detach:
				return a.execDetached(cmd.Context(), args[0], req, log)
			case log != "":
				return errors.New("--log is for commands that run with --detach")
			}
			return a.exec(cmd.Context(), args[0], req)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&req.TTY, "tty", "t", false, "give the command a terminal; needs one on standard input")
	flags.StringArrayVarP(&req.Env, "env", "e", nil, "set `KEY=VALUE` in the command's environment; may be repeated")
	flags.StringVarP(&req.Cwd, "workdir", "w", "", "the command's working folder")
	flags.BoolVarP(&detach, "detach", "d", false, "let the command run on by itself, and print its process id")
	flags.StringVar(&log, "log", "", "with --detach: a `file` in the sandbox that the command's output is added to; without, it is dropped")
	cmd.MarkFlagsMutuallyExclusive("detach", "tty")
	return cmd
}

func (a *app) exec(ctx context.Context, id string, req wire.ExecRequest) error {
	run := a.execPiped
	if req.TTY {
		run = a.execTTY
	}
	code, err := run(ctx, id, req)
	if err == nil && code != 0 {
		err = exitStatus(min(code, 255)) // what an exit code can hold
	}
	return err
}

// execDetached leaves the command to the sandbox's init.
func (a *app) execDetached(ctx context.Context, id string, req wire.ExecRequest, log string) error {
	spawn := []string{client.InitPath, "spawn"} // has process 1 start the command, and prints its process id
	if log != "" {
		spawn = append(spawn, "--log", log)
	}
	req.Args = slices.Concat(spawn, []string{"--"}, req.Args)
	a.in = nil // what a shell's loop reads is not for the command
	return a.exec(ctx, id, req)
}

// execPiped passes signals on to the command, so they do not end it through ctx. Only when they pile up, because nothing
// takes them, does the next one end the call.
func (a *app) execPiped(ctx context.Context, id string, req wire.ExecRequest) (int, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	control := make(chan wire.Frame, 1)
	defer watch(func(sig os.Signal) {
		select {
		case control <- client.Signal(sig.(syscall.Signal)):
		default:
			cancel(errors.New("interrupted"))
		}
	}, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)()
	return a.daemon.Exec(ctx, id, req, client.Stdio{In: a.in, Out: a.out, Err: a.errOut, Control: control})
}

// watch calls handle for each of the signals until the returned function is called.
func watch(handle func(os.Signal), signals ...os.Signal) (stop func()) {
	arrived, stopped, ended := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(arrived, signals...)
	go func() {
		defer close(ended)
		for {
			select {
			case sig := <-arrived:
				handle(sig)
			case <-stopped:
				return
			}
		}
	}()
	return func() {
		signal.Stop(arrived)
		close(stopped)
		<-ended
	}
}
