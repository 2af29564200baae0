package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// servants are the processes of a sandbox on the host, and how each is known by its command line.
var servants = []struct {
	name string
	is   func(args []string) bool
}{
	{"shim", func(args []string) bool { return strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") }},
	{"gofer", func(args []string) bool { return filepath.Base(args[0]) == "runsc-gofer" }},
	{"sentry", func(args []string) bool { return filepath.Base(args[0]) == "runsc-sandbox" }},
}

// noticeTime is how long the daemon may take to learn from containerd that a sandbox is broken.
const noticeTime = 2 * time.Second

// killServant kills a process of a sandbox: by turns each kind, of a claimed sandbox and of one in the pool.
func killServant(ctx context.Context, r *rig, round int) error {
	e, err := r.claim(ctx, patience)
	if err != nil {
		return err
	}
	if err := r.mark(ctx, e); err != nil {
		return err
	}
	victim, warm := e.claim.Sandbox, round >= len(servants)
	if warm {
		if victim, err = r.warmSandbox(ctx, victim); err != nil {
			return err
		}
	}
	servant := servants[round%len(servants)]
	pid := findProcess(victim, servant.is)
	if pid == 0 {
		return fmt.Errorf("sandbox %s has no %s", victim, servant.name)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", servant.name, err)
	}
	r.mended = time.Now()
	pause(ctx, noticeTime)
	if warm {
		return r.checkNeverGiven(ctx, victim, servant.name)
	}
	return nil
}

// checkNeverGiven empties the pool and looks whether a broken sandbox is handed out.
func (r *rig) checkNeverGiven(ctx context.Context, victim, killed string) error {
	for range r.target {
		e, err := r.claim(ctx, patience)
		if err != nil {
			return err
		}
		if err := r.mark(ctx, e); err != nil {
			return err
		}
		if e.claim.Sandbox == victim {
			r.out.lose("%s got sandbox %s, of which the %s had been killed in the pool", e.claim.ID, victim, killed)
		}
	}
	return nil
}

// warmSandbox returns a sandbox that is not claimed.
func (r *rig) warmSandbox(ctx context.Context, claimed string) (string, error) {
	out, err := r.ctr(ctx, "containers", "ls", "-q", `labels."sandpool.state"=="warm"`)
	if err != nil {
		return "", err
	}
	warm := slices.DeleteFunc(strings.Fields(out), func(id string) bool { return id == claimed })
	if len(warm) == 0 {
		return "", errors.New("no sandbox is warm")
	}
	return warm[r.rng.IntN(len(warm))], nil
}

// findProcess returns a process of the kind that serves the sandbox, or 0.
func findProcess(sandbox string, is func(args []string) bool) int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		args := strings.Split(string(line), "\x00")
		if slices.Contains(args, sandbox) && is(args) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}
