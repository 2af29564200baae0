//go:build manual

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// init makes of a build with the tag manual a program that writes the pages of the manual into the folder it is given, and
// does nothing else. So the real command carries no library for that.
func init() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run -tags manual ./cmd/sandpool FOLDER")
		os.Exit(exitUsage)
	}
	if err := writeManual(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "write the manual:", err)
		os.Exit(exitError)
	}
	os.Exit(exitOK)
}

// writeManual writes one page for each command. SOURCE_DATE_EPOCH is their date, in seconds of Unix time.
func writeManual(folder string) error {
	_ = os.Unsetenv(socketEnv) // --socket has the default of everybody
	a := &app{in: strings.NewReader(""), out: io.Discard, errOut: io.Discard}
	root := a.rootCommand()
	root.InitDefaultCompletionCmd()
	root.Long += "\n\n" + exitHelp
	asMarkdown(root)
	header := &doc.GenManHeader{Section: "1", Source: "sandpool " + buildVersion(), Manual: "User Commands"}
	return doc.GenManTree(root, header, folder)
}

// asMarkdown makes what is indented in help texts examples, which are not wrapped.
func asMarkdown(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	cmd.Long = strings.ReplaceAll(strings.ReplaceAll(cmd.Long, "\n  ", "\n    "), ":\n    ", ":\n\n    ")
	for _, sub := range cmd.Commands() {
		asMarkdown(sub)
	}
}
