package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// spoilers are what a bad runsc does, and at which of its commands. The daemon pauses and resumes without one: there it is the notes of runsc
// that are locked, or the sentries that stall.
var spoilers = []struct{ mode, command string }{
	{"hang", "create"}, {"fail", "create"}, {"hang", "start"}, {"fail", "start"}, {locked, ""}, {stalled, ""}, {"hang", "delete"}, {"fail", "delete"},
}

// What keeps sandboxes from being paused and resumed.
const (
	locked  = "lock"
	stalled = "stall"
)

// spoilRunsc makes a command of runsc hang or fail for longer than the deadlines.
func spoilRunsc(ctx context.Context, r *rig, round int) error {
	bad := spoilers[round]
	repair := func() error { return r.spoil("work", "none") }
	_, err := r.ready(ctx, "warm") // for the clients to claim
	switch {
	case err != nil:
	case bad.mode == locked:
		repair, err = r.lockNotes()
	case bad.mode == stalled:
		repair, err = r.stallSentries(ctx)
	default:
		err = r.spoil(bad.mode, bad.command)
	}
	if err != nil {
		return err
	}
	stop := r.load(ctx)
	defer stop()
	pause(ctx, 7*time.Second)
	if bad.mode == "hang" {
		pause(ctx, 7*time.Second) // past the deadline of a start
	}
	err = repair()
	r.repaired = time.Now()
	return err
}

// lockNotes locks what runsc has noted of each sandbox, as a runsc that hangs would, until it is repaired.
func (r *rig) lockNotes() (repair func() error, _ error) {
	paths, err := filepath.Glob(filepath.Join(r.state, "runsc", "*", "*.lock"))
	var held []*os.File
	for _, path := range paths {
		f, openErr := os.Open(path)
		if openErr == nil {
			held = append(held, f)
			openErr = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		err = errors.Join(err, ignore(openErr, os.ErrNotExist)) // that sandbox has ended
	}
	return func() error {
		var errs []error
		for _, f := range held {
			errs = append(errs, f.Close())
		}
		return errors.Join(errs...)
	}, err
}

// stallSentries stops the sentry of each sandbox until it is repaired.
func (r *rig) stallSentries(ctx context.Context) (repair func() error, _ error) {
	ids, err := r.ids(ctx, "containers", "ls", "-q")
	signal := func(signal unix.Signal) (err error) {
		for id := range ids {
			if pid := findProcess(id, servants[len(servants)-1].is); pid != 0 {
				err = errors.Join(err, ignore(unix.Kill(pid, signal), unix.ESRCH))
			}
		}
		return err
	}
	return func() error { return signal(unix.SIGCONT) }, errors.Join(err, signal(unix.SIGSTOP))
}

// alarms counts what the daemon has warned of so far, and what failed in sandboxes.
func (r *rig) alarms() int {
	text, err := os.ReadFile(r.daemon.Log)
	if err != nil {
		return 0
	}
	return bytes.Count(text, []byte("level=WARN")) + bytes.Count(text, []byte("level=ERROR")) + r.failures
}

// diskSize is enough for the image and a few sandboxes.
const diskSize = 64 << 20

// fillDisk fills the file system that containerd's root lies on, and keeps it full while a sandbox writes.
func fillDisk(ctx context.Context, r *rig, _ int) error {
	writer, err := r.claim(ctx, patience)
	if err != nil {
		return err
	}
	if err := r.mark(ctx, writer); err != nil {
		return err
	}
	stop := r.load(ctx)
	defer stop()
	// The file system is mounted where only containerd sees it.
	path := fmt.Sprintf("/proc/%d/root%s", r.host.Pid(), filepath.Join(r.host.Dir, "root", "ballast"))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := fill(f); err != nil {
		return err
	}
	r.writeInside(ctx, writer)
	if err := keepFull(ctx, f, 6*time.Second); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	r.repaired = time.Now()
	return nil
}

// writeInside writes more into a sandbox than its disk could ever take, so that this must fail.
func (r *rig) writeInside(ctx context.Context, e *entry) {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	code, _, err := r.exec(ctx, e.claim.ID, "dd", "if=/dev/zero", "of=/ballast", "bs=1048576", fmt.Sprintf("count=%d", 2*diskSize>>20))
	if err != nil || code != 0 {
		r.failures++
	}
}

// keepFull writes whenever a sandbox that ended gives space back, for a while.
func keepFull(ctx context.Context, f *os.File, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for context.Cause(ctx) == nil {
		if err := fill(f); err != nil {
			return err
		}
		pause(ctx, 10*time.Millisecond)
	}
	return nil
}

// fill appends zeros until there is no space left.
func fill(f *os.File) error {
	block := make([]byte, unix.Getpagesize())
	for {
		if _, err := f.Write(block); err != nil {
			return ignore(err, unix.ENOSPC)
		}
	}
}

// protectState makes the daemon's state folder read-only for it.
func protectState(ctx context.Context, r *rig, _ int) error {
	stop := r.load(ctx)
	defer stop()
	pause(ctx, time.Second)
	// What the daemon has open for writing forbids a remount, but not a read-only mount on top.
	if err := r.inDaemon(ctx, `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"`); err != nil {
		return err
	}
	pause(ctx, 5*time.Second)
	if err := r.inDaemon(ctx, `umount --lazy "$0"`); err != nil {
		return err
	}
	r.repaired = time.Now()
	return nil
}

// inDaemon runs a script on the state folder in the daemon's mount namespace.
func (r *rig) inDaemon(ctx context.Context, script string) error {
	out, err := exec.CommandContext(ctx, "nsenter", "--mount", "--target", strconv.Itoa(r.daemon.Pid()), "--",
		"/bin/sh", "-c", script, r.state).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount state folder: %w: %s", err, out)
	}
	return nil
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
