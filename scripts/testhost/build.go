package testhost

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Build builds a program of ours, such as "sandpoold", puts it into the host's folder and returns its path. Where the test has the race
// detector, so has the program. Its packages are compiled as those of the test or of `make build`, so that Go's cache has them.
func (h *Host) Build(ctx context.Context, name string) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("build %s: %w", name, err) }
	flag, cgo := "-trimpath", "CGO_ENABLED=0"
	if raceDetector() {
		flag, cgo = "-race", "CGO_ENABLED=1"
	}
	// Hosts share the folder below .build, so that the first of them links the program: where it is up to date, go build does not.
	dir := filepath.Join(filepath.Dir(filepath.Dir(h.Init)), "tests"+flag)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as all of .build
		return fail(err)
	}
	lock, err := lockPath(dir, unix.LOCK_EX)
	if err != nil {
		return fail(err)
	}
	defer closeFile(lock)
	built, own := filepath.Join(dir, name), filepath.Join(h.Dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", flag, "-o", built, "sandpool/cmd/"+name)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out))))
	}
	program, err := os.ReadFile(built)
	if err == nil {
		err = os.WriteFile(own, program, 0o755) //nolint:gosec // a program
	}
	if err != nil {
		return fail(err)
	}
	return own, nil
}

// raceDetector reports whether this program was built with the race detector.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo() // nil when Go built none in
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
