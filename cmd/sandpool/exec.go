package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"

	"github.com/spf13/cobra"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func (a *app) execCommand() *cobra.Command {
	var req wire.ExecRequest
	var detach, noStdin bool
	var log string
	var env, envFiles []string
	cmd := &cobra.Command{
		Use:   "exec ID -- COMMAND [ARG...]",
		Short: "Run a command in a claimed sandbox",
		Long: "Run a command in a claimed sandbox, with this command's input, output and errors. It ends with the command, and the command with it.\n\n" +
			"All input is read, also what the command does not want: in a shell's loop give it none by --no-stdin, or the loop runs once.\n\n" +
			"SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP and SIGCONT are passed on to the command's process group, SIGUSR1 and SIGUSR2 to the command\n" +
			"itself. A second SIGINT or SIGTERM ends this command and with it that in the sandbox, and so does the first when nothing answers.\n" +
			"With --tty keys are the command's, Ctrl-C too, and a signal to this command ends it.\n\n" +
			"With --detach the command runs on by itself as a child of the sandbox's init, without input, and standard output gets its process\n" +
			"id alone. Such a command is part of checkpoints; any other is not, and ends with the connection.\n\n" +
			"All users of the host can see the arguments of a command, those of this one too. Give secrets to the sandbox by --env-file, by --env with a\n" +
			"name alone, or by standard input. A file has lines of KEY=VALUE, of a KEY that is set here, or of comments that begin with #; all behind\n" +
			"the first = is the value, without quotes. --env-file /dev/stdin goes with --no-stdin.\n\n" +
			"The exit code is the command's, 127 when there is no such command, 126 when it cannot be run, or 125 for any error of sandpool's own.",
		Args: cobra.MinimumNArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp // the sandbox's files are not ours
			}
			return a.completeClaims(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.Env, err = environment(envFiles, env); err != nil {
				return err
			}
			req.Args = args[1:]
			if noStdin {
				a.in = nil
			}
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
	flags.BoolVarP(&noStdin, "no-stdin", "n", false, "read no input: the command's is empty")
	flags.StringArrayVarP(&env, "env", "e", nil, "set `KEY=VALUE` in the command's environment, or a KEY alone as it is set here; may be repeated")
	flags.StringArrayVar(&envFiles, "env-file", nil, "set what this `file` says in its lines of KEY=VALUE; may be repeated, and --env goes before it")
	flags.StringVarP(&req.Cwd, "workdir", "w", "", "the command's working folder")
	flags.BoolVarP(&detach, "detach", "d", false, "let the command run on by itself, and print its process id")
	flags.StringVar(&log, "log", "", "with --detach: a `file` in the sandbox that the command's output is added to; without, it is dropped")
	cmd.MarkFlagsMutuallyExclusive("detach", "tty")
	cmd.MarkFlagsMutuallyExclusive("no-stdin", "tty")
	completeFlag(cmd, "env", completeEnv)
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

// execPiped passes signals on to the command, so they do not end it through ctx.
func (a *app) execPiped(ctx context.Context, id string, req wire.ExecRequest) (int, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	p := newPassing(cancel, func(ctx context.Context) { _, _ = a.daemon.Get(ctx, id) })
	defer p.watch()()
	return a.daemon.Exec(ctx, id, req, client.Stdio{In: background(a.in), Out: a.out, Err: a.errOut, Control: p.control, Sent: p.wasSent})
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
