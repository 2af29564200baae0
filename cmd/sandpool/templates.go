package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

func (a *app) templatesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "templates",
		Aliases: []string{"template"},
		Short:   "Show what sandboxes are made from, or check it",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listTemplates(cmd.Context()) },
	}
	cmd.AddCommand(a.checkTemplateCommand())
	return cmd
}

func (a *app) listTemplates(ctx context.Context) error {
	templates, err := a.daemon.Templates(ctx)
	if err != nil {
		return err
	}
	return a.print(wire.TemplateList{Templates: templates}, func(w io.Writer) {
		table.Line(w, "TEMPLATE", "IMAGE", "CPUS", "MEMORY MIB", "DISK MIB", "PIDS", "SNAPSHOT", "STATE")
		for _, t := range templates {
			state := string(t.State)
			if t.Reason != "" {
				state += ": " + t.Reason
			}
			table.Line(w, t.Name, t.Image, limit(t.CPUs), limit(t.MemoryMiB), limit(t.DiskMiB), limit(t.PIDs), cmp.Or(t.Snapshot, "–"), state)
		}
	})
}

// limit writes a limit; 0 stands for none.
func limit[N int | float64](n N) string {
	if n == 0 {
		return "–"
	}
	return fmt.Sprint(n)
}

func (a *app) checkTemplateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check NAME",
		Short: "Start one sandbox of a template, say what fails, and destroy it",
		Long: "Make a template ready anew, start one sandbox of it, run its prewarm commands and its readiness checks, and destroy the sandbox.\n" +
			"Each step is shown with the time it took; one that fails says why and what to do, and the exit code is 1.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePools,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.checkTemplate(cmd.Context(), args[0]) },
	}
}

func (a *app) checkTemplate(ctx context.Context, name string) error {
	steps, err := a.daemon.CheckTemplate(ctx, name)
	if err != nil {
		return err
	}
	failed := false
	err = a.print(wire.TemplateCheck{Steps: steps}, func(w io.Writer) {
		table.Line(w, "STEP", "RESULT", "MS", "DETAIL")
		for _, s := range steps {
			if s.OK {
				table.Line(w, s.Step, "ok", fmt.Sprintf("%.0f", s.TookMS))
			} else {
				table.Line(w, s.Step, "FAILED", "", s.Detail)
			}
		}
	})
	for _, s := range steps {
		failed = failed || !s.OK
	}
	if err == nil && failed {
		return exitStatus(exitError)
	}
	return err
}
