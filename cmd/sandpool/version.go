package main

import (
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/table"
)

// version is stamped by the build; see buildVersion.
var version string

// buildVersion falls back on what the go command knows of the checkout.
func buildVersion() string {
	if build, ok := debug.ReadBuildInfo(); ok && version == "" {
		return build.Main.Version
	}
	return version
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this command; info shows the daemon's",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fields := map[string]string{"version": buildVersion(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return a.print(fields, func(w io.Writer) {
				table.Line(w, "sandpool "+fields["version"]+" ("+fields["go"]+", "+fields["platform"]+")")
			})
		},
	}
}
