package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"sandpool/scripts/faults/tenant"
	"sandpool/scripts/testhost"
)

// lifetimes are for what becomes of claims at their end, and of those that nobody uses.
var lifetimes = testhost.Settings{
	"lifetimes.fleeting": {"lifetime": "8s", "warning": "6s", "grace": "4s"},
	"lifetimes.idle":     {"lifetime": "1h", "idle_pause": "1s", "idle_suspend": "1s"},
}

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
	settings := testhost.Settings{
		"daemon":            {"socket": r.socket, "state_dir": r.state, "log_level": "debug"},
		"runsc":             {"path": runsc},
		"limits":            {"start_timeout": start, "pause_timeout": short, "kill_timeout": short, "max_wait": "10m"},
		"reserves":          {"disk_mib": 0}, // it is to be full indeed, not nearly
		"checkpoints":       {"dir": r.checkpoints()},
		"templates.default": {"image": "file://" + r.host.Image},
		"pools.default":     {"target": r.target, "max": r.max, "hot": r.hot},
	}
	maps.Copy(settings, lifetimes)
	page, err := tenant.Page()
	if err != nil {
		return err
	}
	text, err := r.host.Trusted(r.host.Config(settings, fmt.Sprintf("[templates.default.network]\nmode = \"door\"\nallow = [%q]\n", page)))
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
