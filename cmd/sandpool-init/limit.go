package main

import (
	"errors"
	"os"
	"slices"
	"syscall"

	"sandpool/runtime/ulimit"
)

// limit sets its own limits and then becomes a command.
func limit(args []string) int {
	end := slices.Index(args, "--")
	if end < 0 || len(args) < end+3 {
		return fail(exitUsage, "usage: sandpool-init limit NAME=SOFT[:HARD]... -- PATH ARG...")
	}
	for _, text := range args[:end] {
		number, l, err := ulimit.Named(text)
		if err == nil { // package syscall's own: it minds that Go has raised the limit of files, and undoes that otherwise
			err = syscall.Setrlimit(number, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard})
		}
		if err != nil {
			return fail(exitRefused, "sandpool-init: set limit %s: %v", text, err)
		}
	}
	path, command := args[end+1], args[end+2:]
	err := syscall.Exec(path, command, os.Environ())
	if errors.Is(err, syscall.E2BIG) {
		return fail(exitNotRunnable, "sandpool-init: run %s: its arguments do not fit into its stack: %v", command[0], err)
	}
	return cannotRun(command[0], err)
}
