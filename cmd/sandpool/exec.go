package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool/environ"
	"sandpool/cmd/sandpool/input"
	"sandpool/cmd/sandpool/signals"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func (a *app) execCommand() *cobra.Command {
	var how execution
	var detach bool
	var log string
	cmd := &cobra.Command{
		Use:   "exec [flags] ID [--] COMMAND [ARG...]",
		Short: "Run a command in a claimed sandbox",
		Long: "Run a command in a claimed sandbox, with this command's input, output and errors. It ends with the command, and the command with it.\n\n" +
			"All input is read, also what the command does not want: in a shell's loop give it none by --no-stdin, or the loop runs once.\n\n" +
			"SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP and SIGCONT are passed on to the command's process group, SIGUSR1 and SIGUSR2 to the command\n" +
			"itself. A second SIGINT or SIGTERM ends this command and with it that in the sandbox, and so does the first when nothing answers.\n" +
			"With --tty keys are the command's, Ctrl-C too, and a signal to this command ends it.\n\n" +
			"With --detach the command runs on by itself as a child of the sandbox's init, and standard output gets its process id alone: for\n" +
			"`sandpool logs`, `attach`, `wait`, `kill` and `ps`. It outlives this command, a restart of the daemon, a pause, and as part of checkpoints\n" +
			"goes on in their copies; any other command does not, and ends with the connection.\n\n" +
			"All users of the host can see the arguments of a command, those of this one too. Give secrets to the sandbox by --env-file, by --env with a\n" +
			"name alone, or by standard input. A file has lines of KEY=VALUE, of a KEY that is set here, or of comments that begin with #; all behind\n" +
			"the first = is the value, without quotes. --env-file /dev/stdin goes with --no-stdin.\n\n" +
			"The exit code is the command's, or one from 120 to 127 of its own: see `sandpool help exit-codes`.",
		Args:              needs(many, whichClaim),
		ValidArgsFunction: a.completeOneClaim,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, command, err := commandLine(cmd, args)
			if err != nil {
				return err
			}
			if err := how.request(command); err != nil {
				return usageError{err}
			}
			switch {
			case detach && log != "":
				return a.execLogged(cmd.Context(), id, how.req, log)
			case detach:
				return a.execDetached(cmd.Context(), id, wire.ProcessRequest{ExecRequest: how.req, Input: how.interactive})
			case log != "":
				return usageError{errors.New("--log is for commands that run with --detach")}
			}
			return a.exec(cmd.Context(), id, how)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what is behind the command is its own
	how.flags(cmd)
	flags.StringArrayVarP(&how.env, "env", "e", nil, "set `KEY=VALUE` in the command's environment, or a KEY alone as it is set here; may be repeated")
	flags.StringArrayVar(&how.envFiles, "env-file", nil, "set what this `file` says in its lines of KEY=VALUE; may be repeated, and --env goes before it")
	flags.BoolVarP(&detach, "detach", "d", false, "let the command run on by itself, and print its process id")
	flags.StringVar(&log, "log", "", "with --detach: a `file` in the sandbox that the command's output is added to, instead of being kept for sandpool logs")
	completeFlag(cmd, "env", environ.Complete)
	return cmd
}

// execution is how a command is run, from flags.
type execution struct {
	req                    wire.ExecRequest
	interactive, noStdin   bool
	env, envFiles, ulimits []string
}

// flags defines those flags that all commands have that run another one.
func (e *execution) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&e.req.TTY, "tty", "t", false, "give the command a terminal; needs one on standard input")
	flags.BoolVarP(&e.interactive, "interactive", "i", false, "keep the command's input open, for sandpool attach; without --detach it always is")
	flags.BoolVarP(&e.noStdin, "no-stdin", "n", false, "read no input: the command's is empty")
	flags.StringVarP(&e.req.Cwd, "workdir", "w", "", "the command's working `folder`")
	flags.StringVarP(&e.req.User, "user", "u", "", "run as this `user` of the sandbox, a name or a number, with :group behind it for another group")
	durationFlag(flags, "timeout", &e.req.Timeout, "kill the command and all that it started after this `duration`; the exit code is 124 then")
	flags.StringArrayVar(&e.ulimits, "ulimit", nil, "set a limit of the command's processes, `NAME=SOFT[:HARD]` as in nofile=1024; may be repeated")
	cmd.MarkFlagsMutuallyExclusive("no-stdin", "tty")
}

// request fills in what is asked of the daemon.
func (e *execution) request(command []string) (err error) {
	e.req.Args = command
	if e.req.Env, err = environ.Read(e.envFiles, e.env); err != nil {
		return err
	}
	e.req.Rlimits, err = environ.Rlimits(e.ulimits)
	return err
}

func (a *app) shellCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "shell ID",
		Short:             "Open a shell in a claimed sandbox",
		Long:              "Open a shell in a claimed sandbox, on this terminal: the best that the image has, bash or else sh.",
		Args:              needs(1, whichClaim),
		ValidArgsFunction: a.completeOneClaim,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.shell(cmd.Context(), args[0]) },
	}
}

// bestShell becomes the best shell of an image, any of which has an sh.
const bestShell = `for shell in bash ash; do command -v $shell >/dev/null && exec $shell -l; done; exec sh -l`

func (a *app) shell(ctx context.Context, id string) error {
	return a.exec(ctx, id, execution{req: wire.ExecRequest{Args: []string{"sh", "-c", bestShell}, TTY: true}})
}

func (a *app) exec(ctx context.Context, id string, how execution) error {
	run := a.execPiped
	if how.req.TTY {
		run = a.execTTY
	}
	if how.noStdin {
		a.in = nil
	}
	code, err := run(ctx, id, how.req)
	if err != nil || code == 0 {
		return err
	}
	if code == 128+int(unix.SIGKILL) || code == 128+int(unix.SIGTERM) {
		a.tellEnd(ctx, id)
	}
	return exitStatus(min(code, 255)) // what an exit code can hold
}

// tellEnd says that a claim has ended, or is dead, when a command in it was killed.
func (a *app) tellEnd(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	claim, err := a.daemon.Get(ctx, id)
	if client.IsNotFound(err) {
		table.Line(a.errOut, fmt.Sprintf("sandpool: claim %s ended while the command ran", id))
	} else if err == nil && claim.State == wire.ClaimDead {
		table.Line(a.errOut, fmt.Sprintf("sandpool: claim %s died while the command ran: %s", id, claim.Reason))
	}
}

// answerTime is how long a daemon may take to answer what is asked on the way out.
const answerTime = 10 * time.Second

// execDetached leaves the command to the sandbox's process 1, which keeps its output.
func (a *app) execDetached(ctx context.Context, id string, req wire.ProcessRequest) error {
	if req.TTY {
		req.Env = input.WithTerm(req.Env)
	}
	p, err := a.daemon.StartProcess(ctx, id, req)
	if err != nil {
		return err
	}
	return a.print(p, func(w io.Writer) { table.Line(w, strconv.Itoa(p.PID)) })
}

// execLogged leaves the command to the sandbox's process 1, with a file of the sandbox as its output.
func (a *app) execLogged(ctx context.Context, id string, req wire.ExecRequest, log string) error {
	if req.TTY || req.User != "" || req.Timeout != nil || len(req.Rlimits) > 0 {
		return usageError{errors.New("--log does not go with --tty, --user, --timeout or --ulimit: leave it out, and read what the command writes by sandpool logs")}
	}
	req.Args = slices.Concat([]string{client.InitPath, "spawn", "--log", log, "--"}, req.Args) // prints the process id
	a.in = nil                                                                                 // what a shell's loop reads is not for the command
	return a.exec(ctx, id, execution{req: req})
}

// execPiped passes signals on to the command, so they do not end it through ctx.
func (a *app) execPiped(ctx context.Context, id string, req wire.ExecRequest) (int, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	p := signals.New(cancel, func(ctx context.Context) { _, _ = a.daemon.Get(ctx, id) })
	defer p.Watch()()
	return a.daemon.Exec(ctx, id, req, client.Stdio{In: input.Background(a.in), Out: a.out, Err: a.errOut, Control: p.Control, Sent: p.WasSent})
}
