package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/bench"
)

func (a *app) benchCommand() *cobra.Command {
	b := bench.Bench{Daemon: &a.daemon}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Time warm claims and restores against cold starts",
		Long: "Time warm claims, and restores if asked for, against cold starts, interleaved, so that all meet the same state of the machine. Each is\n" +
			"timed here, from call to reply, once the pool is full and quiet. A claim that was served in another way than was meant is counted\n" +
			"apart and not mixed in. Restores go on from one checkpoint of a sandbox of the template, which is made first and deleted at the end.",
		Args: func(cmd *cobra.Command, args []string) error { return errors.Join(cobra.NoArgs(cmd, args), b.Check()) },
		RunE: func(cmd *cobra.Command, _ []string) error { return a.bench(cmd.Context(), b) },
	}
	flags := cmd.Flags()
	flags.StringVar(&b.Template, "template", "default", "claim from this template")
	flags.IntVar(&b.Warm, "warm", 20, "claim this many from the pool")
	flags.IntVar(&b.Cold, "cold", 10, "start this many for their claim")
	flags.IntVar(&b.Restored, "restored", 0, "claim this many that go on from a checkpoint")
	flags.IntVar(&b.Concurrency, "concurrency", 1, "claim this many at once")
	flags.StringVar(&b.Command, "exec", "", "also time from the call to the end of this first command line, such as true")
	flags.Lookup("exec").NoOptDefVal = "true"
	flags.StringVar(&b.Get, "get", "", "also time from the call to the end of the answer to a first HTTP request, to `PORT/PATH` in the sandbox")
	cmd.MarkFlagsMutuallyExclusive("exec", "get")
	a.completeTemplates(cmd)
	cmd.AddCommand(a.coldStartCommand(), a.benchFilesCommand(), a.benchExecCommand())
	return cmd
}

func (a *app) bench(ctx context.Context, b bench.Bench) error {
	if !a.encoded() {
		_, _ = fmt.Fprintf(a.errOut, "%d warm, %d cold and %d restored claims of %s, %d at once\n", b.Warm, b.Cold, b.Restored, b.Template, b.Concurrency)
	}
	done := a.waiting("timing claims")
	report, err := b.Run(ctx)
	done()
	if err != nil {
		return err
	}
	return a.printReport(report)
}

func (a *app) benchFilesCommand() *cobra.Command {
	f := bench.Files{Daemon: &a.daemon}
	cmd := &cobra.Command{
		Use:   "files",
		Short: "Time a file into a sandbox and out of it beside the same bytes through a command's input and output",
		Args:  func(cmd *cobra.Command, args []string) error { return errors.Join(cobra.NoArgs(cmd, args), f.Check()) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			done := a.waiting("timing copies")
			report, err := f.Run(cmd.Context())
			done()
			if err != nil {
				return err
			}
			return a.printReport(report)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Template, "template", "default", "claim from this template")
	flags.Int64Var(&f.MiB, "mib", 1024, "the file's size in MiB")
	flags.IntVar(&f.Rounds, "rounds", 5, "copy it so often each way")
	a.completeTemplates(cmd)
	return cmd
}

func (a *app) benchExecCommand() *cobra.Command {
	e := bench.Execs{Daemon: &a.daemon}
	cmd := &cobra.Command{
		Use:   "exec",
		Short: "Time a short command by all of its ways, and questions about one that runs",
		Long: "Time a short command, true, by all of its ways into one sandbox, and questions about a command that runs, interleaved, so that all meet\n" +
			"the same state of the machine. The report says of each row what was timed. The way without the daemon is timed when --ctr names\n" +
			"containerd's ctr, which needs root: it starts a program of the host for each sample, so what that costs alone is timed beside it.",
		Args: func(cmd *cobra.Command, args []string) error { return errors.Join(cobra.NoArgs(cmd, args), e.Check()) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			done := a.waiting("timing commands")
			report, err := e.Run(cmd.Context())
			done()
			if err != nil {
				return err
			}
			return a.printReport(report)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&e.Template, "template", "default", "claim from this template")
	flags.IntVar(&e.Rounds, "rounds", 200, "time each way so often")
	flags.StringVar(&e.Ctr, "ctr", "", "also time this `program`, containerd's ctr")
	flags.StringVar(&e.Address, "address", "/run/containerd/containerd.sock", "the `socket` of containerd, for --ctr")
	a.completeTemplates(cmd)
	return cmd
}
