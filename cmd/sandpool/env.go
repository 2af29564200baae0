package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"sandpool/daemon/wire"
)

// environment makes what a command gets in its environment, from files first and then from flags; the last value of a name counts.
// Errors name a variable and never tell its value.
func environment(files, flags []string) ([]string, error) {
	var env []string
	for _, name := range files {
		entries, err := readEnvFile(name)
		if err != nil {
			return nil, fmt.Errorf("read --env-file: %w", err)
		}
		env = append(env, entries...)
	}
	for _, flag := range flags {
		entry, err := envEntry(flag)
		if err != nil {
			return nil, fmt.Errorf("--env: %w", err)
		}
		env = append(env, entry)
	}
	return lastOfEach(env), nil
}

// readEnvFile reads lines of KEY=VALUE, or of KEY as for --env. Empty lines count for nothing, and so do those that begin with #.
func readEnvFile(name string) ([]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(io.LimitReader(file, wire.MaxCommand+1))
	lines.Buffer(nil, wire.MaxArgument)
	var env []string
	size := 0
	for n := 1; lines.Scan(); n++ {
		if size += len(lines.Bytes()) + 1; size > wire.MaxCommand {
			return nil, fmt.Errorf("%s is over the limit of %d bytes", name, wire.MaxCommand)
		}
		line := strings.TrimLeft(strings.TrimPrefix(lines.Text(), "\ufeff"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		entry, err := envEntry(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		env = append(env, entry)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s has a line over the limit of %d bytes", name, wire.MaxArgument)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return env, nil
}

// envEntry is KEY=VALUE, of a KEY alone with the value that it has in this command's own environment.
func envEntry(text string) (string, error) {
	name, value, given := strings.Cut(text, "=")
	if name == "" || strings.ContainsAny(name, " \t") || !utf8.ValidString(name) {
		return "", errors.New("want KEY=VALUE or the name of a variable that is set here, without spaces in it")
	}
	if !given {
		if value, given = os.LookupEnv(name); !given {
			return "", fmt.Errorf("%q is not set here: export it, or give KEY=VALUE", name)
		}
	}
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return "", fmt.Errorf("the value of %q is not UTF-8, or has a NUL in it", name)
	}
	return name + "=" + value, nil
}

// lastOfEach keeps the last entry of each name: programs take either of two.
func lastOfEach(env []string) []string {
	seen := map[string]bool{}
	var kept []string
	for _, entry := range slices.Backward(env) {
		if name, _, _ := strings.Cut(entry, "="); !seen[name] {
			seen[name] = true
			kept = append(kept, entry)
		}
	}
	slices.Reverse(kept)
	return kept
}

// completeEnv offers the names of the variables that are set here.
func completeEnv(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, wire.Printable(name))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
