package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/table"
	"sandpool/runtime/runsc"
)

func (a *app) runtimeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "runtime", Short: "Give Kubernetes on this host gVisor"}
	cmd.AddCommand(a.runtimeConfigCommand())
	return cmd
}

func (a *app) runtimeConfigCommand() *cobra.Command {
	var cri runsc.CRI
	var check, write string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print, write or check containerd's configuration for gVisor in Kubernetes",
		Long: "Print, write or check the part of containerd's configuration that gives Kubernetes gVisor, as the handlers runsc, on systrap, and runsc-kvm.\n" +
			"The sandboxes of sandpoold need none of it.\n\n" +
			"containerd reads the file when its own configuration imports it, as imports = [\"/etc/containerd/conf.d/*.toml\"] does, after a restart.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case check != "":
				return a.checkCRI(check)
			case write != "":
				return cri.Write(write)
			default:
				return a.printCRI(cri)
			}
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&cri.Version, "version", 3, "`version` of containerd's configuration: 3, or 2 for containerd 1")
	flags.StringVar(&cri.Dir, "runsc-dir", "/etc/containerd", "`folder` of the files for the shim, which containerd must not import")
	flags.StringVar(&check, "check", "", "report every fault of the `file` for containerd, and of those that it names")
	flags.StringVar(&write, "write", "", "write the `file` for containerd, and those that it names")
	cmd.MarkFlagsMutuallyExclusive("check", "write")
	return cmd
}

func (a *app) checkCRI(path string) error {
	if err := runsc.CheckCRI(path); err != nil {
		return err
	}
	return a.print(map[string]any{"file": path, "ok": true}, func(w io.Writer) { table.Line(w, path+": no fault found") })
}

// printCRI prints the file for containerd, with those that it names as comments.
func (a *app) printCRI(cri runsc.CRI) error {
	dropIn, err := cri.DropIn()
	if err != nil {
		return err
	}
	files, err := cri.ShimFiles()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	text.Write(dropIn)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&text, "\n# %s:\n", path)
		for l := range strings.Lines(string(files[path])) {
			text.WriteString("#   " + l)
		}
	}
	_, err = a.out.Write(text.Bytes())
	return printed(err)
}
