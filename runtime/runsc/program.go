// Package runsc knows gVisor's runsc and its shim: the program and its flags, the files that they read and write, and the calls that a
// sandbox's sentry takes. It knows neither containerd nor sandboxes.
package runsc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Flags that the daemon sets for some sandboxes.
const (
	FlagSetuid   = "allow-suid" // without it no program has the rights of its owner
	FlagPanicLog = "panic-log"  // a file for what the sentry says when it crashes
	FlagNetwork  = "network"
	FlagOverlay  = "overlay2" // where what a sandbox writes to its files is kept
)

// commandTimeout bounds a call of runsc that only prints something.
const commandTimeout = 15 * time.Second

// Program is an installed runsc.
type Program struct {
	Path    string            // absolute
	Version string            // as in "release-20260601.0"
	Flags   map[string]string // that it has, and what it says of each; nil until ReadFlags
}

// Find finds a runsc by a name in PATH or a path, and asks it for its version. An error of one that is found but does not run comes with
// its path.
func Find(ctx context.Context, name string) (p Program, _ error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return p, fmt.Errorf("find runsc %q: %w: install gVisor's runsc or set runsc.path", name, err)
	}
	if p.Path, err = filepath.Abs(path); err != nil {
		return p, fmt.Errorf("find runsc %q: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.Path, "--version").Output()
	if err != nil {
		return p, fmt.Errorf("run %s --version: %w", p.Path, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	p.Version = strings.TrimPrefix(first, "runsc version ")
	return p, nil
}

// Status asks the program for the status of a sandbox.
func (p Program) Status(ctx context.Context, root Root, id string) (specs.ContainerState, error) {
	out, err := exec.CommandContext(ctx, p.Path, "--root", string(root), "state", id).Output()
	var state specs.State
	if err == nil {
		err = json.Unmarshal(out, &state)
	}
	if err != nil {
		return "", fmt.Errorf("run %s state: %w", p.Path, err)
	}
	return state.Status, nil
}

// ReadFlags asks the program which flags it has.
func (p *Program) ReadFlags(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.Path, "flags").CombinedOutput()
	if err != nil {
		return fmt.Errorf("run %s flags: %w", p.Path, err)
	}
	p.Flags = parseFlags(out)
	return nil
}

var releaseDate = regexp.MustCompile(`\b(20\d{6})\b`)

// Releases of runsc from badFrom up to but not including badUntil crash containerd when it pauses a container (gVisor #12647).
const (
	badFrom  = 20260112
	badUntil = 20260601
)

// CheckVersion refuses builds that are known to be bad. It returns a warning when the build does not tell its date.
func (p Program) CheckVersion() (warning string, err error) {
	m := releaseDate.FindStringSubmatch(p.Version)
	if m == nil {
		return fmt.Sprintf("runsc %q does not tell its date, so it cannot be checked for known faults", p.Version), nil
	}
	date, err := strconv.Atoi(m[1])
	if err != nil {
		return "", fmt.Errorf("runsc %s: %w", p.Version, err)
	}
	if date >= badFrom && date < badUntil {
		return "", fmt.Errorf("runsc %s crashes containerd when a container is paused (gVisor #12647, releases %d to %d): install release-%d.0 or later",
			p.Version, badFrom, badUntil-1, badUntil)
	}
	return "", nil
}

// sidecars are the programs that runsc starts sandboxes with, in the folder gvisor-bin beside it. A build that has none of them falls
// back on itself, slowly, and later releases will refuse to.
var sidecars = []string{"gvisor_sentry", "gvisor-sentry-prewarmer", "checkpointgofer"}

// MissingSidecars returns the paths of the programs that this runsc wants beside it and that are not there.
func (p Program) MissingSidecars() (missing []string) {
	if _, has := p.Flags["sidecar-usage-policy"]; !has {
		return nil // a release from before there were any
	}
	for _, name := range sidecars {
		path := filepath.Join(filepath.Dir(p.Path), "gvisor-bin", name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, path)
		}
	}
	return missing
}
