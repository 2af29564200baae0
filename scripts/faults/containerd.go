package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killContainerd kills containerd under load and starts it again a moment later.
func killContainerd(ctx context.Context, r *rig, _ int) error {
	stop := r.load(ctx)
	defer stop()
	pause(ctx, r.chance(500*time.Millisecond, 3*time.Second))
	if err := r.host.Kill(); err != nil {
		return err
	}
	pause(ctx, r.chance(0, 2*time.Second))
	if err := r.host.StartContainerd(ctx); err != nil {
		return err
	}
	r.repaired = time.Now()
	pause(ctx, time.Second)
	return nil
}

// stopContainerd freezes containerd for longer than the daemon's deadlines.
func stopContainerd(ctx context.Context, r *rig, _ int) error {
	stop := r.load(ctx)
	defer stop()
	pause(ctx, r.chance(500*time.Millisecond, 3*time.Second))
	pid := r.host.Pid()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	before := r.alarms()
	pause(ctx, r.chance(8*time.Second, 15*time.Second))
	// No call whose deadline is shorter may have been under way; the daemon asks for a sign of life in any case.
	await(ctx, patience, func(context.Context) bool { return r.alarms() > before })
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		return fmt.Errorf("continue containerd: %w", err)
	}
	r.repaired = time.Now()
	pause(ctx, time.Second)
	return nil
}

// removeImage removes the daemon's image from containerd before sandboxes are started from it. As long as there is a sandbox or
// one of the daemon's leases, its layers stay, and nothing breaks.
func removeImage(ctx context.Context, r *rig, _ int) error {
	const pool = "/v1/pools/default"
	r.tell(ctx, http.MethodPost, pool+"/drain", "")
	if !await(ctx, patience, func(ctx context.Context) bool {
		out, err := r.ctr(ctx, "containers", "ls", "-q")
		return err == nil && strings.TrimSpace(out) == ""
	}) {
		return errors.New("the pool is not drained")
	}
	for _, kind := range []string{"leases", "images"} {
		names, err := r.ctr(ctx, kind, "ls", "-q")
		if err != nil {
			return err
		}
		for name := range strings.FieldsSeq(names) {
			if _, err := r.ctr(ctx, kind, "rm", "--sync", name); err != nil {
				return err
			}
		}
	}
	r.tell(ctx, http.MethodPut, pool, fmt.Sprintf(`{"hold": false, "target": %d}`, r.target))
	stop := r.load(ctx)
	defer stop()
	pause(ctx, 3*time.Second)
	if err := r.host.Import(ctx, r.host.Image); err != nil {
		return err
	}
	r.repaired = time.Now()
	return nil
}
