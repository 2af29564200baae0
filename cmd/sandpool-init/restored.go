package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hookDir holds an image's own programs to run after a restore, such as one that reseeds a random number generator.
const hookDir = "/etc/sandpool/restored.d"

const (
	// hooksTime is how long all of them may take together: who waits for the sandbox waits for them too.
	hooksTime = 10 * time.Second
	// hookOutput is how long what a hook left running may go on to write to the hook's output.
	hookOutput = 100 * time.Millisecond
)

// restored gives the sandbox the identity id: until then it has that of the sandbox whose checkpoint it was made from. All
// is tried; the exit code tells whether the identity is whole. Hooks that fail are only reported.
func restored(args []string) int {
	if len(args) != 1 || !validHostname(args[0]) {
		return fail(exitUsage, "usage: sandpool-init restored ID, with an ID of at most 63 letters, digits and '-'")
	}
	code := 0
	for _, step := range []struct {
		name string
		do   func(id string) error
	}{
		{"set the host name", setHostname},
		{"name the sandbox", renameSandbox},
		{"give the machine an id", writeMachineID},
		{"write " + noticeDir + "/restored", noticeRestored},
	} {
		if err := step.do(args[0]); err != nil {
			code = fail(exitFailure, "sandpool-init: %s: %v", step.name, err)
		}
	}
	runHooks()
	return code
}

func validHostname(id string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	return id != "" && len(id) <= 63 && id[0] != '-' && strings.Trim(id, allowed) == ""
}

// setHostname changes nothing that is right already, as the container's runtime may have set it: doing so again would take
// a capability that few sandboxes have.
func setHostname(id string) error {
	if name, err := os.Hostname(); err == nil && name == id {
		return nil
	}
	return unix.Sethostname([]byte(id))
}

func writeMachineID(string) error {
	var random [16]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return fmt.Errorf("get random bytes: %w", err)
	}
	etc, err := openEtc()
	if err != nil || etc == nil {
		return err
	}
	defer etc.close()
	return etc.write("machine-id", fmt.Sprintf("%x\n", random))
}

// noticeRestored tells programs that watch for it, in a line of JSON.
func noticeRestored(id string) error {
	dir, err := openNotices()
	if err != nil {
		return err
	}
	defer dir.close()
	if err := dir.remove("events"); err != nil { // they were the other sandbox's
		return err
	}
	return dir.write("restored", fmt.Sprintf("{\"time\":%q,\"id\":%q}\n", time.Now().UTC().Format(time.RFC3339Nano), id))
}

// runHooks runs the executable files in hookDir, one after the other, in the order of their names, until hooksTime is over.
func runHooks() {
	ctx, cancel := context.WithTimeoutCause(context.Background(), hooksTime, fmt.Errorf("the hooks have taken %v", hooksTime))
	defer cancel()
	entries, err := os.ReadDir(hookDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		_ = fail(0, "sandpool-init: list hooks: %v", err)
	}
	for _, e := range entries {
		path := filepath.Join(hookDir, e.Name())
		if cause := context.Cause(ctx); cause != nil {
			_ = fail(0, "sandpool-init: hook %s and those after it are not run: %v", path, cause)
			return
		}
		info, err := os.Stat(path)
		if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
			continue
		}
		if err == nil {
			err = runHook(ctx, path)
		}
		if err != nil {
			_ = fail(0, "sandpool-init: hook %s: %v", path, err)
		}
	}
}

// runHook runs one of them, and kills it and its process group when ctx ends. What it left running keeps none of the
// caller's files open, so the caller is not held up.
func runHook(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, path)
	output := struct{ io.Writer }{os.Stderr} // not a file, so that os/exec puts a pipe before it
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = hookOutput
	err := cmd.Run()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}
