package runtime

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

var (
	runscDate       = regexp.MustCompile(`\b(20\d{6})\b`)
	containerdMajor = regexp.MustCompile(`^v?(\d+)\.`)
)

// Releases of runsc from badFrom up to but not including badUntil crash containerd when it pauses a container (gVisor #12647).
const (
	badFrom  = 20260112
	badUntil = 20260601
)

// checkRunsc refuses builds that are known to be bad. It returns a warning when the build does not tell its date.
func checkRunsc(version string) (warning string, err error) {
	m := runscDate.FindStringSubmatch(version)
	if m == nil {
		return fmt.Sprintf("runsc %q does not tell its date, so it cannot be checked for known faults", version), nil
	}
	date, err := strconv.Atoi(m[1])
	if err != nil {
		return "", fmt.Errorf("runsc %s: %w", version, err)
	}
	if date >= badFrom && date < badUntil {
		return "", fmt.Errorf("runsc %s crashes containerd when a container is paused (gVisor #12647, releases %d to %d): install release-%d.0 or later",
			version, badFrom, badUntil-1, badUntil)
	}
	return "", nil
}

// checkContainerd refuses versions whose API the daemon does not speak.
func checkContainerd(version string) error {
	m := containerdMajor.FindStringSubmatch(version)
	if m == nil {
		return nil // a build without a version; the calls themselves will tell
	}
	if major, err := strconv.Atoi(m[1]); err != nil || major < 2 {
		return fmt.Errorf("containerd %s is too old: install containerd 2.0 or later", version)
	}
	return nil
}

// runscVersion asks runsc for its version, as in "release-20260601.0".
func runscVersion(ctx context.Context, runsc string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, runsc, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w", runsc, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(first, "runsc version "), nil
}
