package main

import (
	"context"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/listing"
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
	a.outputFlags(cmd)
	cmd.AddCommand(a.checkTemplateCommand())
	return cmd
}

func (a *app) listTemplates(ctx context.Context) error {
	templates, err := a.daemon.Templates(ctx)
	if err != nil {
		return err
	}
	return a.printTable(wire.TemplateList{Templates: templates}, listing.Templates(templates), "no templates")
}

func (a *app) checkTemplateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check NAME",
		Short: "Start one sandbox of a template, say what fails, and destroy it",
		Long: "Make a template ready anew, start one sandbox of it, run its prewarm commands and its readiness checks, and destroy the sandbox.\n" +
			"Each step is shown with the time it took; one that fails says why and what to do, and the exit code is 1.",
		Args:              needs(1, "which template? `sandpool templates` shows them"),
		ValidArgsFunction: a.completePools,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.checkTemplate(cmd.Context(), args[0]) },
	}
}

func (a *app) checkTemplate(ctx context.Context, name string) error {
	done := a.waiting("trying template " + name)
	steps, err := a.daemon.CheckTemplate(ctx, name)
	done()
	if err != nil {
		return err
	}
	failed := false
	err = a.printTable(wire.TemplateCheck{Steps: steps}, listing.Steps(steps), "")
	for _, s := range steps {
		failed = failed || !s.OK
	}
	if err == nil && failed {
		return exitStatus(exitError)
	}
	return err
}
