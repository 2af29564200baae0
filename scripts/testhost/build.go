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
)

// Build builds a program of ours, such as "sandpoold", into the host's folder and returns its path. Where the test has the race
// detector, so has the program. Its packages are compiled as those of the test or of `make build`, so that Go's cache has them.
func (h *Host) Build(ctx context.Context, name string) (string, error) {
	program := filepath.Join(h.Dir, name)
	flag, cgo := "-trimpath", "CGO_ENABLED=0"
	if raceDetector() {
		flag, cgo = "-race", "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(ctx, "go", "build", flag, "-o", program, "sandpool/cmd/"+name)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return program, nil
}

// raceDetector reports whether this program was built with the race detector.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo() // nil when Go built none in
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
