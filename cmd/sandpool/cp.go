package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sandpool/cmd/sandpool/transfer"
	"sandpool/daemon/wire"
)

// copyPatience is how long a copy of a large file waits for a daemon that is away.
const copyPatience = time.Minute

func (a *app) cpCommand() *cobra.Command {
	c := transfer.Copier{Daemon: &a.daemon, Patient: copyPatience}
	var quiet bool
	cmd := &cobra.Command{
		Use:   "cp SOURCE TARGET",
		Short: "Copy files and folders into and out of claimed sandboxes",
		Long: "Copy files and folders into and out of claimed sandboxes, and from one to another. One of both is ID:PATH, a path in the sandbox of a claim;\n" +
			"a relative one begins in the folder that its commands work in. A path of this host that has a colon begins with ./ or /.\n\n" +
			"Into a folder that is there a copy goes under its own name; SOURCE/. means what is in the folder. - on this host is a tar stream, on\n" +
			"standard input or output. Modes, times, links and holes are kept, and with --archive owners too, by their numbers. Devices,\n" +
			"sockets and what is in /proc and /sys are left out.\n\n" +
			"A file appears under its name when it is whole. A copy of a large file waits for a daemon that was started again and goes on where\n" +
			"it was, and so does the same command when it was given up; the part is then beside the target, as .sandpool-part- and some digits.",
		Args: needs(2, "copy what? SOURCE and TARGET, one of which is ID:PATH", "copy to where? Behind SOURCE comes TARGET, one of which is ID:PATH"),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if place := transfer.ParsePlace(word); place.Claim != "" {
				return a.completePaths(cmd, place.Claim, place.Claim+":", place.Path)
			}
			ids, _ := a.completeClaims(cmd, nil, word)
			for i := range ids {
				id, about, _ := strings.Cut(ids[i], "\t")
				ids[i] = cobra.CompletionWithDesc(id+":", about)
			}
			return ids, cobra.ShellCompDirectiveNoSpace // and files of this host
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c.In, c.Out = a.in, a.out
			if file, ok := a.errOut.(*os.File); ok && !quiet && !a.json && term.IsTerminal(int(file.Fd())) {
				c.Bar = transfer.NewBar(file)
				defer c.Bar.End()
			}
			return c.Copy(cmd.Context(), transfer.ParsePlace(args[0]), transfer.ParsePlace(args[1]))
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&c.Owners, "archive", "a", false, "keep owners by their numbers, and set-user-id bits; needs root at the target")
	flags.BoolVarP(&c.Follow, "follow-link", "L", false, "copy what SOURCE leads to if it is a link")
	flags.StringVarP(&c.User, "user", "u", "", userHelp)
	flags.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

const userHelp = "act in the sandbox as this `user`, a name or a number, or with :GROUP; its own user if left out"

// printableName is the path of a file of others, on one line.
func printableName(f wire.File) string {
	name := wire.Printable(f.Path)
	if f.Kind == wire.KindLink {
		name += " -> " + wire.Printable(f.Target)
	}
	return name
}
