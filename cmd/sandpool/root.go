package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

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
	daemon      client.Client
	json        bool
	started     bool // the command line was understood
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sandpool",
		Short: "Claim gVisor sandboxes from a sandpoold on this host",
		Long: "Claim gVisor sandboxes from a sandpoold on this host.\n\n" + exitHelp + "\n" +
			socketEnv + " in the environment is the default of --socket.",
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { a.started = true },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	socket := os.Getenv(socketEnv)
	if socket == "" {
		socket = wire.DefaultSocket
	}
	root.PersistentFlags().StringVar(&a.daemon.Socket, "socket", socket, "the daemon's unix socket")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON for programs")
	root.AddCommand(a.claimCommand(), a.releaseCommand(), a.lsCommand(), a.extendCommand(), a.checkpointCommand(), a.checkpointsCommand(), a.forkCommand(), a.execCommand(), a.shellCommand(), a.psCommand(), a.logsCommand(), a.attachCommand(), a.killCommand(), a.cpCommand(), a.filesCommand(), a.forwardCommand(), a.egressCommand(), a.poolsCommand(), a.topCommand(), a.templatesCommand(), a.imagesCommand(), a.infoCommand(), a.versionCommand(), a.benchCommand(), a.eventsCommand(), a.doctorCommand(), a.runtimeCommand())
	return root
}

// print writes value as JSON when that was asked for, and otherwise what text writes, aligned at its tabs.
func (a *app) print(value any, text func(w io.Writer)) error {
	return a.printTo(a.out, value, text)
}

func (a *app) printTo(to io.Writer, value any, text func(w io.Writer)) error {
	if a.json {
		encoder := json.NewEncoder(to)
		encoder.SetIndent("", "  ")
		return printed(encoder.Encode(value))
	}
	return printed(table.Align(to, text))
}

func printed(err error) error {
	if err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// complain writes an error. Each of its lines but the first is indented, so that none passes for a message of its own.
func (a *app) complain(err error) {
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = wire.Printable(lines[i])
	}
	_, _ = fmt.Fprintf(a.errOut, "sandpool: %s\n", strings.Join(lines, "\n  "))
}
