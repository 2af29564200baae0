package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// hangUpTime is how long a shell may take to end when its terminal was lost.
const hangUpTime = 2 * time.Second

// bashrc keeps what the shell was given from the user's own settings.
const bashrc = `[ ! -r ~/.bashrc ] || . ~/.bashrc
PATH=%s:$PATH
PS1='(sandpool) \w \$ '
`

// openShell is `make shell`: it opens a shell with everything set, and returns its exit code when it ends. An interrupt is the shell's own.
func (d *demo) openShell(ctx context.Context) (code int, err error) {
	d.say("The pool is full. This shell has sandpool, ctr and their sockets set; its end stops and removes everything. Try:\n" +
		"  ID=$(sandpool claim); sandpool exec $ID -- dmesg; sandpool ls; ctr tasks ls; sandpool release $ID")
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGHUP, syscall.SIGTERM)
	defer stop()
	cmd, err := d.shellCommand(ctx)
	if err != nil {
		return 0, err
	}
	err = cmd.Run()
	if cause := context.Cause(ctx); cause != nil {
		return 0, cause
	}
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode(), nil
	}
	return 0, err
}

func (d *demo) shellCommand(ctx context.Context) (*exec.Cmd, error) {
	path := d.bin + ":" + filepath.Dir(d.host.Ctr)
	shell, args := cmp.Or(os.Getenv("SHELL"), "bash"), []string(nil)
	if filepath.Base(shell) == "bash" {
		file := filepath.Join(d.host.Dir, "bashrc")
		if err := os.WriteFile(file, fmt.Appendf(nil, bashrc, path), 0o600); err != nil {
			return nil, err
		}
		args = []string{"--rcfile", file}
	}
	cmd := d.command(ctx, shell, args...)
	cmd.Env = append(cmd.Env, "CONTAINERD_NAMESPACE="+d.host.Namespace, "PATH="+path+":"+os.Getenv("PATH"), "PS1=(sandpool) $ ")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = d.in, d.out, d.errOut
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGHUP) }
	cmd.WaitDelay = hangUpTime
	return cmd, nil
}

// closeDaemon stops sandpoold, which removes its sandboxes. What its user made besides goes with the host.
func (d *demo) closeDaemon() error {
	if err := d.daemon.Stop(stopTimeout); err != nil {
		return fmt.Errorf("stop sandpoold: %w", err)
	}
	return nil
}
