// Package environ reads what commands and claims get in their environment, from flags and files, and as their limits.
package environ

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

// Read makes what a command gets in its environment, from files first and then from flags; the last value of a name counts.
// Errors name a variable and never tell its value.
func Read(files, flags []string) ([]string, error) {
	var env []string
	for _, name := range files {
		entries, err := readEnvFile(name)
		if err != nil {
			return nil, fmt.Errorf("read --env-file: %w", err)
		}
		env = append(env, entries...)
	}
	for _, flag := range flags {
		entry, err := entryOf(flag)
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
		entry, err := entryOf(line)
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

// entryOf is KEY=VALUE, of a KEY alone with the value that it has in this command's own environment.
func entryOf(text string) (string, error) {
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

// Complete offers the names of the variables that are set here.
func Complete(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, wire.Printable(name))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// Secret reads one that a flag names. All users of the host can see what is on a command line, so that has no values.
func Secret(flag string) (string, error) {
	name, from, given := strings.Cut(flag, "=")
	if !given {
		return entryOf(name)
	}
	path, file := strings.CutPrefix(from, "@")
	if !file || name == "" {
		return "", errors.New("want NAME=@FILE, or the NAME of a variable that is set here: values on a command line are no secrets")
	}
	var in io.Reader = os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	value, err := io.ReadAll(io.LimitReader(in, wire.MaxArgument+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	if len(value) > wire.MaxArgument {
		return "", fmt.Errorf("%s is over the limit of %d bytes", path, wire.MaxArgument)
	}
	return entryOf(name + "=" + strings.TrimSuffix(string(value), "\n"))
}

// Rlimits are limits as the daemon takes them, which checks them.
func Rlimits(flags []string) (map[string]string, error) {
	limits := map[string]string{}
	for _, text := range flags {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--ulimit %q: want NAME=SOFT[:HARD], as in nofile=1024", text)
		}
		limits[name] = value
	}
	return limits, nil
}
