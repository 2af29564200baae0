package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// daemonConfig is all that the daemon is told; the rest are defaults.
const daemonConfig = `version = 1

[daemon]
socket = %q
state_dir = %q
on_stop = "remove"
log_level = "debug"

[containerd]
address = %q
namespace = %q

[runsc]
path = %q
init = %q
canary_timeout = "1m"

[limits]
start_timeout = %q
pause_timeout = %q
kill_timeout = %q
max_wait = "10m"

[reserves] # the disk is to be full indeed, not nearly
disk_mib = 0

[checkpoints]
dir = %q

[lifetimes.fleeting] # for what becomes of claims at their end
lifetime = "8s"
warning = "6s"
grace = "4s"

[lifetimes.idle] # for what becomes of claims that nobody uses
lifetime = "1h"
idle_pause = "1s"
idle_suspend = "1s"

[templates.default]
image = "file://%s"

[pools.default]
target = %d
max = %d
hot = %d
`

func (r *rig) writeConfig() error {
	start, short := "60s", "20s"
	if r.brief {
		start, short = "12s", "3s"
	}
	runsc := r.host.Runsc
	if r.wrapped {
		var err error
		if runsc, err = r.wrapRunsc(); err != nil {
			return err
		}
	}
	text := fmt.Sprintf(daemonConfig, r.socket, r.state, r.host.Address, r.host.Namespace, runsc, r.host.Init,
		start, short, short, r.checkpoints(), r.host.Image, r.target, r.max, r.hot)
	text, err := r.host.Trusted(text)
	if err != nil {
		return err
	}
	return os.WriteFile(r.config, []byte(text), 0o600)
}

// checkpoints is the folder of checkpoints.
func (r *rig) checkpoints() string { return filepath.Join(r.host.Dir, "checkpoints") }

// wrapper is a runsc that hangs or fails when it is told so for the command that is its last argument but some.
const wrapper = `#!/bin/sh
read -r mode verb <%[1]s
for word in "$@"; do
	[ "$word" = "$verb" ] || continue
	[ "$mode" = fail ] && exit 1
	[ "$mode" = hang ] && sleep 1000
done
exec %[2]s "$@"
`

// wrapRunsc puts a script in runsc's place.
func (r *rig) wrapRunsc() (string, error) {
	path := filepath.Join(r.host.Dir, "runsc-wrapper")
	if err := r.spoil("work", "none"); err != nil {
		return "", err
	}
	text := fmt.Sprintf(wrapper, r.spoilFile(), r.host.Runsc)
	return path, os.WriteFile(path, []byte(text), 0o755) //nolint:gosec // it is a program
}

// spoilFile is where the wrapper reads what it must do.
func (r *rig) spoilFile() string { return filepath.Join(r.host.Dir, "runsc-mode") }

// spoil tells the wrapper to hang or to fail at one of runsc's commands.
func (r *rig) spoil(mode, command string) error {
	next := r.spoilFile() + ".new"
	if err := os.WriteFile(next, []byte(mode+" "+command+"\n"), 0o644); err != nil { //nolint:gosec // containerd's user reads it
		return err
	}
	return os.Rename(next, r.spoilFile())
}
