package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/input"
	"sandpool/cmd/sandpool/listing"
	"sandpool/cmd/sandpool/signals"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func (a *app) psCommand() *cobra.Command {
	var chosen listing.Selection
	cmd := &cobra.Command{
		Use:   "ps [ID]",
		Short: "List the processes of a claimed sandbox; without one, list claims",
		Long: "List the processes of a claimed sandbox. Those that were started by `sandpool exec --detach` are marked with *: their output is kept for\n" +
			"`sandpool logs`, also for a while after their end.\n\n" +
			"Without an id it is `sandpool ls`.",
		Args:              needs(1),
		ValidArgsFunction: a.completeOneClaim,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return a.ls(cmd.Context(), nil, chosen)
			case chosen.Given():
				return usageError{errors.New("--label, --template and --state choose claims: leave the id out")}
			default:
				return a.ps(cmd.Context(), args[0])
			}
		},
	}
	a.listFlags(cmd, &chosen)
	return cmd
}

func (a *app) ps(ctx context.Context, id string) error {
	list, err := a.daemon.Processes(ctx, id)
	if err != nil {
		return err
	}
	return a.printTable(wire.ProcessList{Processes: list}, listing.Processes(list), "no processes")
}

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	var since int64
	cmd := &cobra.Command{
		Use:   "logs ID [PID]",
		Short: "Show what a detached command wrote",
		Long: "Show what a command wrote that `sandpool exec --detach` started: its output here as output, its errors as errors. The last MiB of each\n" +
			"command is kept; what is kept no more is counted on standard error. With --follow it goes on until the command has ended, also when the\n" +
			"daemon is restarted meanwhile. With --json each piece is a line of JSON; --since takes a position and goes on there.\n\n" +
			"Without a PID it is the one command that was started so.",
		Args:              needs(2, whichClaim),
		ValidArgsFunction: a.completeProcess,
		RunE:              a.onProcess(func(ctx context.Context, id string, pid int) error { return a.logs(ctx, id, pid, since, follow) }),
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
		Use:   "attach ID [PID]",
		Short: "Watch a detached command, and type to it",
		Long: "Show what a command writes that `sandpool exec --detach` started, from what is kept on, and give it this command's input if it was started\n" +
			"with --interactive or --tty. It ends with the command and its exit code. The command goes on when this one is interrupted, on a terminal of\n" +
			"its own by Ctrl-P Ctrl-Q; the end of this one's input is not passed on.\n\n" +
			"Without a PID it is the one command that was started so.",
		Args:              needs(2, whichClaim),
		ValidArgsFunction: a.completeProcess,
		RunE:              a.onProcess(func(ctx context.Context, id string, pid int) error { return a.attach(ctx, id, pid, noStdin) }),
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
		code, err = input.OnTerminal(file, func(control chan wire.Frame) (int, error) {
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
		Args:              needs(2, whichClaim, "which process? `sandpool ps ID` shows them"),
		ValidArgsFunction: a.completeProcess,
		RunE: a.onProcess(func(ctx context.Context, id string, pid int) error {
			number, err := signals.Number(name)
			if err != nil {
				return usageError{fmt.Errorf("--signal: %w", err)}
			}
			return a.daemon.SignalProcess(ctx, id, pid, number)
		}),
	}
	cmd.Flags().StringVarP(&name, "signal", "s", "TERM", "the signal's `name` or number")
	return cmd
}

// onProcess is a command whose arguments are a claim and a process, which may be left out where there is one.
func (a *app) onProcess(do func(ctx context.Context, id string, pid int) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			pid, err := a.onlyProcess(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return do(cmd.Context(), args[0], pid)
		}
		pid, err := strconv.ParseUint(args[1], 10, 31)
		if err != nil || pid == 0 {
			return usageError{fmt.Errorf("process id %q: want a number, as sandpool ps shows it", args[1])}
		}
		return do(cmd.Context(), args[0], int(pid))
	}
}

// onlyProcess is the one process of a claim that was started by `sandpool exec --detach` or with the claim.
func (a *app) onlyProcess(ctx context.Context, id string) (int, error) {
	list, err := a.daemon.Processes(ctx, id)
	if err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(p wire.Process) bool { return !p.Supervised })
	switch len(list) {
	case 0:
		return 0, usageError{fmt.Errorf("%s has no command that runs by itself: `sandpool exec --detach` starts one", id)}
	case 1:
		return list[0].PID, nil
	default:
		return 0, usageError{fmt.Errorf("%s has %d commands that run by themselves: name one by its process id, `sandpool ps %[1]s` shows them", id, len(list))}
	}
}

func (a *app) waitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "wait ID [PID]",
		Short: "Wait until a detached command ends, and print its exit code",
		Long: "Wait until a command has ended that `sandpool exec --detach` started, also when the daemon is restarted meanwhile, and print its exit code.\n" +
			"It is 128 and the signal's number for one that a signal ended, and 124 after its --timeout. This command exits with 0 then.\n\n" +
			"Without a PID it is the one command that was started so.",
		Args:              needs(2, whichClaim),
		ValidArgsFunction: a.completeProcess,
		RunE:              a.onProcess(a.wait),
	}
}

func (a *app) wait(ctx context.Context, id string, pid int) error {
	p, err := a.daemon.Process(ctx, id, pid)
	if err != nil {
		return err
	}
	if !p.Supervised {
		return usageError{fmt.Errorf("process %d was not started by `sandpool exec --detach`: nobody keeps its exit code", pid)}
	}
	for since := p.OutputNext; p.ExitCode == nil; {
		err = a.reconnecting(ctx, func(printing) (bool, error) {
			at, ended, err := a.daemon.ProcessOutput(ctx, id, pid, since, true, func(wire.ProcessOutput) error { return nil })
			since = at
			if ended != nil {
				p = *ended
			}
			return ended != nil, err
		})
		if err != nil {
			return err
		}
		if cause := context.Cause(ctx); cause != nil && p.ExitCode == nil {
			return fmt.Errorf("wait: %w", cause)
		}
	}
	return a.print(p, func(w io.Writer) { table.Line(w, *p.ExitCode) })
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
			ids = append(ids, offered(strconv.Itoa(p.PID), listing.ProcessState(p)+", "+strings.Join(p.Args, " ")))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
