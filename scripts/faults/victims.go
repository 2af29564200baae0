package main

import (
	"context"
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
		if victim, err = r.ready(ctx, "warm"); err != nil {
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
	r.repaired = time.Now()
	pause(ctx, noticeTime)
	if warm {
		return r.checkNeverGiven(ctx, victim, "its "+servant.name+" was killed")
	}
	return nil
}

// checkNeverGiven empties the pool and looks whether a sandbox is handed out after something was done to it there.
func (r *rig) checkNeverGiven(ctx context.Context, victim, done string) error {
	for range r.target {
		e, err := r.claim(ctx, patience)
		if err != nil {
			return err
		}
		if err := r.mark(ctx, e); err != nil {
			return err
		}
		if e.claim.Sandbox == victim {
			r.out.lose("%s got sandbox %s, though %s in the pool", e.claim.ID, victim, done)
		}
	}
	return nil
}

// ready returns a sandbox of the pool that is labelled "warm" or "hot", when there is one.
func (r *rig) ready(ctx context.Context, state string) (id string, err error) {
	if !await(ctx, patience, func(ctx context.Context) bool {
		var out string
		out, err = r.ctr(ctx, "containers", "ls", "-q", fmt.Sprintf(`labels."sandpool.state"==%q`, state))
		if all := strings.Fields(out); len(all) > 0 {
			id = all[r.rng.IntN(len(all))]
		}
		return err != nil || id != ""
	}) {
		err = fmt.Errorf("no sandbox is %s", state)
	}
	return id, err
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
