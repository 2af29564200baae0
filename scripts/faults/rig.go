package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sandpool/daemon/client"
	"sandpool/scripts/testhost"
)

// patience is how long the suite waits for what must come; a machine under load is slow.
const patience = 2 * time.Minute

// setup is what a scenario needs of its host and daemon. Its zero value is a small pool.
type setup struct {
	target, max int
	hot         int    // of the target, how many run
	brief       bool   // deadlines of seconds
	wrapped     bool   // runsc is a script that can be told to hang or to fail
	private     bool   // the daemon has a mount namespace of its own
	disk        uint64 // bytes of a file system for containerd's root; 0: no own one
}

// rig is a host with a daemon, its clients and their book.
type rig struct {
	setup
	host     *testhost.Host
	program  string // sandpoold, built with its crash points
	config   string
	socket   string
	state    string // the daemon's state folder
	daemon   *testhost.Process
	client   *client.Client
	book     *book
	out      *outcome
	rng      *rand.Rand // of the scenario's own goroutine
	short    bool
	steps    []string  // of the daemon's, at which it is to crash
	repaired time.Time // when the last fault was taken away
	level    level     // of the daemon at rest
	on       string    // what the daemon runs on
	// failures counts what the daemon need not notice, but shows that a fault bit.
	failures int
}

// opened counts rigs: those that are open at the same time need different namespaces.
var opened atomic.Int64

// openRig starts a host and a daemon and returns when its pool is whole.
func openRig(ctx context.Context, s setup, out *outcome) (*rig, error) {
	if s.target == 0 {
		s.target, s.max = 4, 12
	}
	host, err := testhost.Start(ctx, testhost.Options{Namespace: fmt.Sprintf("faults-%d-%d", os.Getpid(), opened.Add(1)), Disk: s.disk})
	if err != nil {
		return nil, err
	}
	r := &rig{
		setup: s, host: host, out: out, book: newBook(),
		program: filepath.Join(filepath.Dir(host.Init), "sandpoold-faults"),
		config:  filepath.Join(host.Dir, "sandpoold.toml"),
		socket:  filepath.Join(host.Dir, "sandpool.sock"),
		state:   filepath.Join(host.Dir, "sandpool"),
	}
	r.client = &client.Client{Socket: r.socket}
	if err := r.begin(ctx); err != nil {
		host.ShowLogs(40)
		r.close(ctx)
		return nil, err
	}
	return r, nil
}

func (r *rig) begin(ctx context.Context) error {
	if err := r.writeConfig(); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	return r.awaitRest(ctx)
}

// spawn starts the daemon.
func (r *rig) spawn() error {
	args := []string{r.program, "--config", r.config}
	switch {
	case r.private:
		args = append([]string{"unshare", "--mount", "--propagation", "private", "--"}, args...)
	case r.disk > 0: // which is mounted where only containerd sees it
		args = append([]string{"nsenter", "--mount", "--target", strconv.Itoa(r.host.Pid()), "--"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // the host ends it
	cmd.Env = append(os.Environ(), "SANDPOOL_CRASH_FILE="+r.crashFile())
	var err error
	r.daemon, err = r.host.Spawn("sandpoold", cmd)
	return err
}

// start starts the daemon and waits until it listens.
func (r *rig) start(ctx context.Context) error {
	if err := r.spawn(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.daemon.AwaitSocket(ctx, r.socket)
}

// awaitRest waits until the pool is whole and takes the daemon's level then.
func (r *rig) awaitRest(ctx context.Context) error {
	if err := r.awaitWhole(ctx); err != nil {
		return err
	}
	info, err := r.client.Info(ctx)
	if err != nil {
		return err
	}
	r.on = fmt.Sprintf("%d cores, Linux %s, runsc %s, %s, containerd %s", goruntime.NumCPU(), kernel(), info.Runsc, info.Platform, info.Containerd)
	r.level, err = r.measure(ctx)
	return err
}

// kernel is the release of the host's kernel.
func kernel() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease") // what cannot be read is left out
	return strings.TrimSpace(string(release))
}

// finish stops the daemon, which removes its sandboxes, and looks for what it left.
func (r *rig) finish(ctx context.Context) error {
	r.client.Close()
	if err := r.daemon.Stop(patience); err != nil {
		return fmt.Errorf("stop sandpoold: %w", err)
	}
	out, err := r.ctr(ctx, "containers", "ls", "-q")
	if err != nil {
		return err
	}
	for id := range strings.FieldsSeq(out) {
		r.out.leak("container %s after the daemon's end", id)
	}
	for _, left := range r.host.Leftovers() {
		r.out.leak("%s after the daemon's end", left)
	}
	return nil
}

// close removes the host and all that is on it.
func (r *rig) close(ctx context.Context) {
	r.client.Close()
	if err := r.host.Close(); err != nil && context.Cause(ctx) == nil {
		r.out.leak("after the host's end: %v", err)
	}
}

// ctr runs containerd's own client and returns what it printed.
func (r *rig) ctr(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := r.host.Command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// chance returns a random time between two.
func (r *rig) chance(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rng.Int64N(int64(most-least)))
}

// pause lets the load go on for d.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// await asks until done is true; it is false after the timeout.
func await(ctx context.Context, timeout time.Duration, done func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for !done(ctx) {
		if context.Cause(ctx) != nil {
			return false
		}
		pause(ctx, 50*time.Millisecond)
	}
	return true
}
