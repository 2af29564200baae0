package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/listing"
	"sandpool/daemon/doctor"
	"sandpool/daemon/wire"
)

func (a *app) doctorCommand() *cobra.Command {
	o := doctor.Options{}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this host for what sandpoold needs",
		Long: "Check this host for what sandpoold needs, whether it runs or not: one line for each check, with the command that mends what is wrong.\n" +
			"Each platform is tried by a sandbox of its own, which takes up to runsc.canary_timeout.\n\n" +
			"Exit code 0 means that no check failed, warnings or not; 1 that one did.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.ConfigNamed = cmd.Flags().Changed("config")
			named := cmd.Flags().Changed("socket") || os.Getenv(socketEnv) != ""
			o.Ask = func(ctx context.Context, socket string) (wire.Info, int, error) {
				if !named {
					a.daemon.Socket = socket
				}
				return a.census(ctx)
			}
			done := a.waiting("checking this host, and trying each platform")
			host, err := doctor.Look(cmd.Context(), o)
			done()
			if err != nil {
				return err
			}
			return a.diagnose(doctor.Check(host))
		},
	}
	cmd.Flags().StringVar(&o.Config, "config", doctor.DefaultConfig, "the daemon's configuration `file`")
	return cmd
}

// census asks the daemon who it is and how many sandboxes it has.
func (a *app) census(ctx context.Context) (wire.Info, int, error) {
	info, err := a.daemon.Info(ctx)
	if err != nil {
		return wire.Info{}, 0, err
	}
	pools, err := a.daemon.Pools(ctx)
	total := 0
	for _, p := range pools {
		total += p.Total
	}
	return info, total, err
}

// diagnose prints what the doctor found. That a check failed is the exit code.
func (a *app) diagnose(results []doctor.Result) error {
	failed := doctor.Failed(results)
	err := a.print(map[string]any{"ok": !failed, "checks": results}, func(w io.Writer) { listing.WriteChecks(w, results, a.screen().Colour) })
	if err == nil && failed {
		return exitStatus(exitError)
	}
	return err
}
