package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sandpool/daemon/wire"
)

// completeClaims offers the claims that are not on the command line yet. Without a daemon there is nothing to offer.
func (a *app) completeClaims(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	claims, err := a.daemon.List(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []cobra.Completion
	for _, c := range claims {
		if !slices.Contains(args, c.ID) {
			ids = append(ids, offered(c.ID, c.Template+", "+string(c.State)))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// completePaths offers what a folder of a claim's sandbox has whose path begins a word, before which something may stand.
func (a *app) completePaths(cmd *cobra.Command, claim, before, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	folder := word[:strings.LastIndex(word, "/")+1]
	var paths []cobra.Completion
	_ = a.daemon.Files(claim).List(cmd.Context(), cmp.Or(folder, "."), 1, func(f wire.File) error { // without a daemon there is nothing to offer
		path := folder + f.Path
		if f.Kind == wire.KindFolder {
			path += "/"
		}
		if strings.HasPrefix(path, word) && wire.Printable(f.Name()) == f.Name() {
			paths = append(paths, before+path)
		}
		return nil
	})
	return paths, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeCheckpoints offers the checkpoints that are not on the command line yet.
func (a *app) completeCheckpoints(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	saved, _ := a.daemon.Checkpoints(cmd.Context()) // without a daemon there is nothing to offer
	var ids []cobra.Completion
	for _, c := range saved {
		if !slices.Contains(args, c.ID) {
			ids = append(ids, offered(c.ID, c.Template+", "+cmp.Or(c.Comment, c.Trigger)))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// offered is a completion that a shell can show, whatever others wrote.
func offered(id, description string) cobra.Completion {
	return cobra.CompletionWithDesc(wire.Printable(id), wire.Printable(description))
}

// lifetimeTypes offers the types that every daemon has.
var lifetimeTypes = cobra.FixedCompletions([]cobra.Completion{"development", "preview", "cicd"}, cobra.ShellCompDirectiveNoFileComp)

// completeFlag has offer offer the values of a flag.
func completeFlag(cmd *cobra.Command, flag string, offer cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // the flag is missing: a slip in this program
	}
}

// completeTemplates offers the templates as values of --template.
func (a *app) completeTemplates(cmd *cobra.Command) { completeFlag(cmd, "template", a.templates) }

// completePools offers the pools as the one argument.
func (a *app) completePools(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.templates(cmd, args, typed)
}

// templates offers the templates that have a pool.
func (a *app) templates(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	pools, _ := a.daemon.Pools(cmd.Context()) // without a daemon there is nothing to offer
	var names []cobra.Completion
	for _, p := range pools {
		names = append(names, wire.Printable(p.Template))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
