// Package help groups the commands, and shows how each is used.
package help

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"sandpool/cmd/sandpool/table"
)

// groups are the headings of the list of commands, with those below them, in their order.
var groups = []struct{ id, title, commands string }{
	{"sandboxes", "Claim and release sandboxes:", "run claim ls inspect extend release"},
	{"inside", "Work in a sandbox:", "exec shell ps logs attach wait kill cp files forward egress"},
	{"saved", "Save sandboxes, and go on from there:", "checkpoint checkpoints fork"},
	{"pools", "Look after pools and templates:", "pools templates images"},
	{"host", "Look after the daemon and the host:", "info events top doctor runtime bench"},
	{"other", "Other commands:", "version completion help"},
}

// topic is the name of the page about exit codes.
const topic = "exit-codes"

// Dress gives the commands their groups and examples, and a page about the exit codes. Help is wrapped at a width; 0 is none.
func Dress(root *cobra.Command, exitCodes string, width int) {
	plain := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		out := root.OutOrStdout()
		root.SetOut(&text)
		plain(cmd, args)
		root.SetOut(out)
		_, _ = io.WriteString(out, wrap(text.String(), width))
	})
	group := map[string]string{}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for name := range strings.FieldsSeq(g.commands) {
			group[name] = g.id
		}
	}
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	for _, cmd := range root.Commands() {
		cmd.GroupID = group[cmd.Name()]
	}
	root.AddCommand(&cobra.Command{Use: topic, Short: "What exit codes mean", Long: strings.TrimSpace(exitCodes)})
	each(root, func(cmd *cobra.Command) {
		cmd.DisableFlagsInUseLine = true // a command's own use says where they are
		cmd.Example = indented(examples[strings.TrimPrefix(cmd.CommandPath(), root.Name()+" ")])
	})
}

func each(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, sub := range cmd.Commands() {
		each(sub, do)
	}
}

func indented(text string) string {
	if text == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}

// leastText is the width that is left at least for what goes on below the beginning of what a line describes.
const leastText = 20

// described finds where a line describes what it begins with.
var described = regexp.MustCompile(`^ +\S.*?  +`)

// wrap breaks lines that are longer than a width. What comes behind goes on below the description, or below the line's beginning.
func wrap(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if at := len(described.FindString(line)); at > 0 && width-at >= leastText {
			indent = at
		}
		lines[i] = table.Wrap(line, width, strings.Repeat(" ", indent))
	}
	return strings.Join(lines, "\n")
}
