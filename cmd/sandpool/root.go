package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/encode"
	"sandpool/cmd/sandpool/help"
	"sandpool/cmd/sandpool/input"
	"sandpool/cmd/sandpool/progress"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// socketEnv names the environment variable with the socket's path.
const socketEnv = "SANDPOOL_SOCKET"

// app is what the commands share.
type app struct {
	in          io.Reader
	out, errOut io.Writer
	terminal    any // what out is at first, which may be one
	daemon      client.Client
	json        bool
	format      string // one of the outputs, or empty
	started     bool   // the command line was understood
	watching    bool   // what is printed is compared with what was
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "sandpool",
		Short:         "Claim gVisor sandboxes from a sandpoold on this host",
		Long:          "Claim gVisor sandboxes from a sandpoold on this host.",
		Version:       buildVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			err := cmd.ValidateFlagGroups()
			a.started = err == nil
			return err
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	root.SetVersionTemplate(fmt.Sprintf("sandpool {{.Version}} (%s, %s/%s)\n", runtime.Version(), runtime.GOOS, runtime.GOARCH))
	socket := os.Getenv(socketEnv)
	if socket == "" {
		socket = wire.DefaultSocket
	}
	root.PersistentFlags().StringVar(&a.daemon.Socket, "socket", socket, "the daemon's unix `socket`; "+socketEnv+" in the environment is the default")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON for programs")
	root.AddCommand(a.runCommand(), a.claimCommand(), a.releaseCommand(), a.lsCommand(), a.inspectCommand(), a.extendCommand(), a.checkpointCommand(), a.checkpointsCommand(), a.forkCommand(), a.execCommand(), a.shellCommand(), a.psCommand(), a.logsCommand(), a.attachCommand(), a.waitCommand(), a.killCommand(), a.cpCommand(), a.filesCommand(), a.forwardCommand(), a.egressCommand(), a.poolsCommand(), a.topCommand(), a.templatesCommand(), a.imagesCommand(), a.infoCommand(), a.versionCommand(), a.benchCommand(), a.eventsCommand(), a.doctorCommand(), a.runtimeCommand())
	help.Dress(root, exitHelp, a.screen().Width)
	return root
}

// What --output takes.
const (
	outputWide = "wide"
	outputJSON = "json"
	outputYAML = "yaml"
	outputName = "name"
)

// outputFlags has a command that prints a table print it in other ways.
func (a *app) outputFlags(cmd *cobra.Command) {
	words := []cobra.Completion{outputWide, outputJSON, outputYAML, outputName}
	cmd.Flags().FuncP("output", "o", "print in this `format`: wide, json, yaml, or name", func(text string) error {
		switch text {
		case outputJSON:
			a.json = true
		case outputWide, outputYAML, outputName:
			a.format = text
		default:
			return errors.New("want wide, json, yaml or name")
		}
		return nil
	})
	cmd.Flags().BoolFuncP("quiet", "q", "print names alone, as --output name does", func(string) error {
		a.format = outputName
		return nil
	})
	completeFlag(cmd, "output", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// encoded tells whether values are printed for programs.
func (a *app) encoded() bool { return a.json || a.format == outputYAML }

// print writes value as JSON or YAML when that was asked for, and otherwise what text writes, aligned at its tabs.
func (a *app) print(value any, text func(w io.Writer)) error {
	return a.printTo(a.out, value, text)
}

func (a *app) printTo(to io.Writer, value any, text func(w io.Writer)) error {
	switch {
	case a.format == outputYAML:
		return printed(encode.YAML(to, value))
	case a.json:
		return printed(encode.JSON(to, value))
	default:
		return printed(table.Align(to, text))
	}
}

// printPairs writes value for programs when that was asked for, and otherwise lines of names and values.
func (a *app) printPairs(value any, lines []table.Pair) error {
	if a.encoded() {
		return a.print(value, nil)
	}
	return printed(table.WritePairs(a.out, a.screen().Width, lines))
}

// printReport writes what was measured.
func (a *app) printReport(report interface {
	Write(w io.Writer, s table.Screen) error
}) error {
	if a.encoded() {
		return a.print(report, nil)
	}
	return printed(report.Write(a.out, a.screen()))
}

// printTable writes value for programs when that was asked for, and otherwise a table, or its names alone. none says on standard error that
// there are no rows.
func (a *app) printTable(value any, t *table.Table, none string) error {
	switch {
	case a.encoded():
		return a.print(value, nil)
	case a.format == outputName:
		return a.print(nil, func(w io.Writer) {
			for _, name := range t.Names() {
				table.Line(w, name)
			}
		})
	case t.Empty() && !a.watching:
		table.Line(a.errOut, none)
		return nil
	default:
		return printed(t.Write(a.out, a.screen()))
	}
}

// screen is what tables are written for. Where the output is no terminal their lines have no bound.
func (a *app) screen() table.Screen {
	s := table.Screen{Wide: a.format == outputWide}
	if file, ok := a.terminal.(*os.File); ok && isTerminal(file) {
		if _, columns := input.Size(int(file.Fd())); !s.Wide {
			s.Width = int(columns)
		}
		s.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return s
}

func printed(err error) error {
	if err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// waiting says on a terminal what takes over a second, until the returned function is called.
func (a *app) waiting(what string) (done func()) {
	if a.encoded() {
		return func() {}
	}
	return progress.Begin(a.errOut, what)
}

// complain writes an error, for programs as JSON in one line. Each of its lines but the first is indented, so that none passes for a message of its own.
func (a *app) complain(err error, exit int) {
	if a.encoded() {
		_ = json.NewEncoder(a.errOut).Encode(failureOf(err, exit))
		return
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = wire.Printable(lines[i])
	}
	_, _ = fmt.Fprintf(a.errOut, "sandpool: %s\n", strings.Join(lines, "\n  "))
}
