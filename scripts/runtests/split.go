package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// anew are the arguments for packages that start programs: Go's cache does not know what those depend on. Tests on the
// real stack wait for most of their time, so that three packages share two cores well; more would only make each other late.
var anew = []string{"-count=1", "-p=3"}

// longest are the packages that begin first: the others run beside them.
var longest = []string{"sandpool/daemon/daemontest", "sandpool/runtime", "sandpool/systemd/systemdtest", "sandpool/cmd/sandpool-init"}

// starters are the imports by which programs are started.
var starters = []string{"os/exec", "sandpool/scripts/testhost"}

// tested is what go list tells about a package.
type tested struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// startsPrograms reports whether the package or its tests do.
func (p tested) startsPrograms() bool {
	return slices.ContainsFunc(slices.Concat(p.Imports, p.TestImports, p.XTestImports), func(i string) bool { return slices.Contains(starters, i) })
}

// rank is the place of a package in the order that they begin in.
func rank(path string) int {
	if i := slices.Index(longest, path); i >= 0 {
		return i
	}
	return len(longest)
}

// split returns the arguments of one go test for each kind of package that args name.
func split(ctx context.Context, args []string) ([][]string, error) {
	at := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if at < 0 {
		return nil, errors.New("name packages after the flags, and give each flag as -NAME=VALUE")
	}
	flags := args[:at]
	all, err := list(ctx, flags, args[at:])
	if err != nil {
		return nil, err
	}
	var quick, slow []string
	for _, p := range all {
		if p.startsPrograms() {
			slow = append(slow, p.ImportPath)
		} else {
			quick = append(quick, p.ImportPath)
		}
	}
	var groups [][]string
	if len(quick) > 0 {
		groups = append(groups, slices.Concat(flags, quick))
	}
	if len(slow) > 0 {
		program, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		slices.SortStableFunc(slow, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
		groups = append(groups, slices.Concat(anew, []string{fmt.Sprintf("-exec='%s' %s", program, shareFlag)}, flags, slow))
	}
	return groups, nil
}

// list asks go list for the packages. Of the flags only -tags changes what they import.
func list(ctx context.Context, flags, patterns []string) ([]tested, error) {
	args := []string{"list", "-json=ImportPath,Imports,TestImports,XTestImports"}
	for _, f := range flags {
		if strings.HasPrefix(strings.TrimLeft(f, "-"), "tags=") {
			args = append(args, f)
		}
	}
	cmd := exec.CommandContext(ctx, "go", append(args, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	var all []tested
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p tested
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		all = append(all, p)
	}
}
