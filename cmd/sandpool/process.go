package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool/input"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func (a *app) psCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ps ID",
		Short: "List the processes of a claimed sandbox",
		Long: "List the processes of a claimed sandbox. Those that were started by `sandpool exec --detach` are marked with *: their output is kept for\n" +
			"`sandpool logs`, also for a while after their end.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeOneClaim,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.ps(cmd.Context(), args[0]) },
	}
}

func (a *app) ps(ctx context.Context, id string) error {
	list, err := a.daemon.Processes(ctx, id)
	if err != nil {
		return err
	}
	return a.print(wire.ProcessList{Processes: list}, func(w io.Writer) {
		table.Line(w, "PID", "USER", "STATE", "STARTED", "CPU", "MIB", "COMMAND")
		for _, p := range list {
			mark := ""
			if p.Supervised {
				mark = "*"
			}
			table.Line(w, fmt.Sprintf("%d%s", p.PID, mark), p.User, processState(p), age(p.StartedAt), fmt.Sprintf("%.1fs", p.CPUMS/1000),
				fmt.Sprintf("%.1f", mebibytes(p.MemoryBytes)), strings.Join(p.Args, " "))
		}
	})
}

// processState is the state of a process in a table.
func processState(p wire.Process) string {
	switch {
	case p.TimedOut:
		return "timed out"
	case p.ExitCode != nil:
		return fmt.Sprintf("exited %d", *p.ExitCode)
	default:
		return p.State
	}
}

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	var since int64
	cmd := &cobra.Command{
		Use:   "logs ID PID",
		Short: "Show what a detached command wrote",
		Long: "Show what a command wrote that `sandpool exec --detach` started: its output here as output, its errors as errors. The last MiB of each\n" +
			"command is kept; what is kept no more is counted on standard error. With --follow it goes on until the command has ended, also when the\n" +
			"daemon is restarted meanwhile. With --json each piece is a line of JSON; --since takes a position and goes on there.",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeProcess,
		RunE:              onProcess(func(ctx context.Context, id string, pid int) error { return a.logs(ctx, id, pid, since, follow) }),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what it writes until it ends")
	cmd.Flags().Int64Var(&since, "since", 0, "a position: leave out the bytes before it")
	return cmd
}

// logs prints output.
func (a *app) logs(ctx context.Context, id string, pid int, since int64, follow bool) error {
	if !follow {
		_, _, err := a.daemon.ProcessOutput(ctx, id, pid, since, false, a.output)
		return err
	}
	return a.reconnecting(ctx, func(print printing) (bool, error) {
		at, ended, err := a.daemon.ProcessOutput(ctx, id, pid, since, true, func(o wire.ProcessOutput) error { return print(a.output(o)) })
		since = at
		return ended != nil, err
	})
}

// output prints a piece of what a process wrote.
func (a *app) output(o wire.ProcessOutput) error {
	if a.json {
		return printed(json.NewEncoder(a.out).Encode(o))
	}
	if o.Dropped > 0 {
		_, _ = fmt.Fprintf(a.errOut, "sandpool: %d bytes are kept no more\n", o.Dropped)
	}
	to := a.out
	if o.Stream == wire.OutputStderr {
		to = a.errOut
	}
	_, err := to.Write(o.Data)
	return printed(err)
}

func (a *app) attachCommand() *cobra.Command {
	var noStdin bool
	cmd := &cobra.Command{
		Use:   "attach ID PID",
		Short: "Watch a detached command, and type to it",
		Long: "Show what a command writes that `sandpool exec --detach` started, from what is kept on, and give it this command's input if it was started\n" +
			"with --interactive or --tty. It ends with the command and its exit code. The command goes on when this one is interrupted, on a terminal of\n" +
			"its own by Ctrl-P Ctrl-Q; the end of this one's input is not passed on.",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeProcess,
		RunE:              onProcess(func(ctx context.Context, id string, pid int) error { return a.attach(ctx, id, pid, noStdin) }),
	}
	cmd.Flags().BoolVarP(&noStdin, "no-stdin", "n", false, "read no input: only watch")
	return cmd
}

func (a *app) attach(ctx context.Context, id string, pid int, noStdin bool) error {
	p, err := a.daemon.Process(ctx, id, pid)
	if err != nil {
		return err
	}
	ctx, detach := context.WithCancelCause(ctx)
	defer detach(nil)
	stdio := client.Stdio{In: input.Endless(ctx, nil), Out: a.out, Err: a.errOut}
	if !noStdin && p.Input && a.in != nil {
		stdio.In = input.Endless(ctx, input.Background(a.in))
	}
	var code int
	if file, ok := a.in.(*os.File); ok && p.TTY && !noStdin && isTerminal(file) {
		stdio.In = input.Leavable(a.in, func() { detach(errDetached) })
		code, err = a.onTerminal(file, func(control chan wire.Frame) (int, error) {
			control <- client.Resize(input.Size(int(file.Fd())))
			stdio.Control = control
			return a.daemon.Attach(ctx, id, pid, p.OutputFirst, stdio)
		})
	} else {
		code, err = a.daemon.Attach(ctx, id, pid, p.OutputFirst, stdio)
	}
	if context.Cause(ctx) != nil && err != nil {
		return nil // the command goes on
	}
	if err == nil && code != 0 {
		err = exitStatus(min(code, 255))
	}
	return err
}

var errDetached = errors.New("detached")

func (a *app) killCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "kill ID PID",
		Short: "Signal a process of a claimed sandbox",
		Long: "Send SIGTERM, or the signal that --signal names, to a process of a claimed sandbox. Of a command that `sandpool exec --detach` started all\n" +
			"of its group gets it, and KILL is for its whole session.",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeProcess,
		RunE: onProcess(func(ctx context.Context, id string, pid int) error {
			number, err := signalNumber(name)
			if err != nil {
				return err
			}
			return a.daemon.SignalProcess(ctx, id, pid, number)
		}),
	}
	cmd.Flags().StringVarP(&name, "signal", "s", "TERM", "the signal's `name` or number")
	return cmd
}

func signalNumber(name string) (syscall.Signal, error) {
	if n, err := strconv.ParseUint(name, 10, 7); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	if n := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("--signal: %q: want a name such as TERM, or a number from 1 to 64", name)
}

// onProcess is a command whose arguments are a claim and a process.
func onProcess(do func(ctx context.Context, id string, pid int) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		pid, err := strconv.ParseUint(args[1], 10, 31)
		if err != nil || pid == 0 {
			return fmt.Errorf("process id %q: want a number, as sandpool ps shows it", args[1])
		}
		return do(cmd.Context(), args[0], int(pid))
	}
}

// completeOneClaim offers claims for the first argument.
func (a *app) completeOneClaim(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeClaims(cmd, args, word)
}

// completeProcess offers claims for the first argument and the processes of that one for the second.
func (a *app) completeProcess(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeOneClaim(cmd, args, word)
	}
	list, _ := a.daemon.Processes(cmd.Context(), args[0]) // without a daemon there is nothing to offer
	var ids []cobra.Completion
	for _, p := range list {
		if p.Supervised {
			ids = append(ids, offered(strconv.Itoa(p.PID), processState(p)+", "+strings.Join(p.Args, " ")))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
