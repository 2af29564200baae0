package main

import "github.com/spf13/cobra"

// completeClaims offers the claims that are not on the command line yet. Without a daemon there is nothing to offer.
func (a *app) completeClaims(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	claims, err := a.daemon.List(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	given := map[string]bool{}
	for _, id := range args {
		given[id] = true
	}
	var ids []cobra.Completion
	for _, c := range claims {
		if !given[c.ID] {
			ids = append(ids, cobra.CompletionWithDesc(c.ID, c.Template+", "+string(c.State)))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// completeTemplates offers the templates that have a pool as values of --template.
func (a *app) completeTemplates(cmd *cobra.Command) {
	if err := cmd.RegisterFlagCompletionFunc("template", a.templates); err != nil {
		panic(err) // the flag is missing: a slip in this program
	}
}

// completePools offers the pools as the one argument.
func (a *app) completePools(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.templates(cmd, args, typed)
}

func (a *app) templates(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	pools, _ := a.daemon.Pools(cmd.Context()) // without a daemon there is nothing to offer
	var names []cobra.Completion
	for _, p := range pools {
		names = append(names, p.Template)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
