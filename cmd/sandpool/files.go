package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/events"
	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func (a *app) filesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "files", Short: "List and change files in claimed sandboxes"}
	var user string
	cmd.PersistentFlags().StringVarP(&user, "user", "u", "", userHelp)
	of := func(claim string) client.Files {
		files := a.daemon.Files(claim)
		files.User = user
		return files
	}
	cmd.AddCommand(a.filesList(of), a.filesStat(of), a.filesMkdir(of), a.filesMove(of), a.filesRemove(of), a.filesChmod(of), a.filesChown(of), a.filesCat(of), a.filesWatch(of))
	for _, sub := range cmd.Commands() {
		sub.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return a.completePaths(cmd, args[0], "", word)
			}
			return a.completeClaims(cmd, args, word)
		}
	}
	return cmd
}

// filesOf gives the files of a claim's sandbox.
type filesOf func(claim string) client.Files

// mostListed is how many files are listed at once: a sandbox may never come to an end.
const mostListed = 1_000_000

func (a *app) filesList(of filesOf) *cobra.Command {
	var depth int
	cmd := &cobra.Command{
		Use:   "ls ID [FOLDER]",
		Short: "List a folder",
		Args:  needs(2, whichClaim),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := "."
			if len(args) > 1 {
				folder = args[1]
			}
			list := []wire.File{}
			err := of(args[0]).List(cmd.Context(), folder, depth, func(f wire.File) error {
				if list = append(list, f); len(list) > mostListed {
					return fmt.Errorf("there are more than %d files: list a folder in it", mostListed)
				}
				return nil
			})
			if err != nil {
				return err
			}
			return a.printFiles(list)
		},
	}
	cmd.Flags().IntVarP(&depth, "depth", "d", 1, "go so deep into inner folders; 0 to their end")
	return cmd
}

func (a *app) printFiles(list []wire.File) error {
	return a.print(map[string][]wire.File{"files": list}, func(w io.Writer) {
		table.Line(w, "MODE", "OWNER", "SIZE", "MODIFIED", "NAME")
		for _, f := range list {
			table.Line(w, string(f.Kind[:1])+" "+f.Mode, fmt.Sprintf("%d:%d", f.UID, f.GID), strconv.FormatInt(f.Size, 10), f.ModifiedAt.Local().Format(time.DateTime), printableName(f))
		}
	})
}

func (a *app) filesStat(of filesOf) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "stat ID PATH...",
		Short: "Show files, and links themselves",
		Args:  needs(many, whichClaim, "which file?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []wire.File
			err := eachPath(args[1:], func(path string) error {
				file, err := of(args[0]).Stat(cmd.Context(), path, follow)
				list = append(list, file)
				return err
			})
			if err != nil {
				return err
			}
			return a.printFiles(list)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow-link", "L", false, "show what a link leads to")
	return cmd
}

// eachPath does something for one path after the other, until it fails.
func eachPath(paths []string, do func(string) error) error {
	for _, path := range paths {
		if err := do(path); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) filesMkdir(of filesOf) *cobra.Command {
	var parents bool
	mode := "755"
	cmd := &cobra.Command{
		Use:   "mkdir ID FOLDER...",
		Short: "Make folders",
		Args:  needs(many, whichClaim, "which file?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			bits, err := parseMode(mode)
			if err != nil {
				return err
			}
			return eachPath(args[1:], func(path string) error {
				_, err := of(args[0]).Mkdir(cmd.Context(), path, bits, parents)
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&parents, "parents", "p", false, "make those above too; one that is there is no error")
	cmd.Flags().StringVarP(&mode, "mode", "m", mode, "their mode, in octal")
	return cmd
}

func parseMode(text string) (uint32, error) {
	bits, err := strconv.ParseUint(text, 8, 12)
	if err != nil {
		return 0, usageError{fmt.Errorf("mode %q: want it in octal, at most 7777", text)}
	}
	return uint32(bits), nil
}

func (a *app) filesMove(of filesOf) *cobra.Command {
	return &cobra.Command{
		Use:   "mv ID FROM TO",
		Short: "Give a file or a folder another name, in place of what has it",
		Args:  needs(3, whichClaim, "which file?", "which new name?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := of(args[0]).Move(cmd.Context(), args[1], args[2])
			return err
		},
	}
}

func (a *app) filesRemove(of filesOf) *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "rm ID PATH...",
		Short: "Remove files, links and empty folders",
		Args:  needs(many, whichClaim, "which file?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachPath(args[1:], func(path string) error { return of(args[0]).Remove(cmd.Context(), path, recursive) })
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "remove folders with all that is in them")
	return cmd
}

func (a *app) filesChmod(of filesOf) *cobra.Command {
	cmd := &cobra.Command{Use: "chmod ID MODE PATH...", Short: "Change the mode of files, in octal"}
	return filesChange(cmd, of, func(ctx context.Context, files client.Files, mode, path string) error {
		bits, err := parseMode(mode)
		if err == nil {
			_, err = files.Chmod(ctx, path, bits)
		}
		return err
	})
}

func (a *app) filesChown(of filesOf) *cobra.Command {
	cmd := &cobra.Command{Use: "chown ID OWNER[:GROUP] PATH...", Short: "Give files to a user, and to a group"}
	return filesChange(cmd, of, func(ctx context.Context, files client.Files, owner, path string) error {
		_, err := files.Chown(ctx, path, owner)
		return err
	})
}

// filesChange is a command that changes files to something.
func filesChange(cmd *cobra.Command, of filesOf, change func(ctx context.Context, files client.Files, to, path string) error) *cobra.Command {
	cmd.Args = needs(many, whichClaim, "which change?", "which file?")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return eachPath(args[2:], func(path string) error { return change(cmd.Context(), of(args[0]), args[1], path) })
	}
	return cmd
}

func (a *app) filesCat(of filesOf) *cobra.Command {
	return &cobra.Command{
		Use:   "cat ID FILE...",
		Short: "Write files to standard output",
		Args:  needs(many, whichClaim, "which file?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachPath(args[1:], func(path string) error {
				content, _, err := of(args[0]).Read(cmd.Context(), path, 0, "")
				if err != nil {
					return err
				}
				defer content.Close() //nolint:errcheck // it was only read
				_, err = io.Copy(a.out, content)
				return err
			})
		},
	}
}

func (a *app) filesWatch(of filesOf) *cobra.Command {
	var recursive bool
	var after string
	cmd := &cobra.Command{
		Use:   "watch ID PATH",
		Short: "Show what happens to a file, or to a folder and what is in it, until interrupted",
		Long: "Show what happens to a file, or to a folder and what is in it, until interrupted. When the connection breaks it goes on where it was; what was dropped " +
			"meanwhile is said as lost. With --json each event is a line of JSON; its cursor is what --after takes.",
		Args: needs(2, whichClaim, "which file or folder?"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reconnecting(cmd.Context(), func(print printing) (bool, error) {
				err := of(args[0]).Watch(cmd.Context(), args[1], recursive, after, func(e wire.FileEvent) error {
					after = e.Cursor
					return print(a.fileEvent(e))
				})
				return err == nil, err
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "watch all inner folders too")
	cmd.Flags().StringVar(&after, "after", "", "a cursor: go on behind its event")
	return cmd
}

// fileEvent prints one change of a file.
func (a *app) fileEvent(e wire.FileEvent) error {
	if a.json {
		return printed(json.NewEncoder(a.out).Encode(e))
	}
	_, err := fmt.Fprintln(a.out, events.OfFile(e))
	return printed(err)
}
