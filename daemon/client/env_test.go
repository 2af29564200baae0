package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/scripts/testhost"
)

var host *testhost.Host

func TestMain(m *testing.M) {
	os.Exit(testhost.Main(m, testhost.Options{Namespace: "sandpool-client"}, &host))
}

// daemonTime is how long a daemon may take to start.
const daemonTime = 90 * time.Second

// socket is that of the daemon that the examples talk to, which the first of them starts. The host's end stops it.
var socket = sync.OnceValue(func() string {
	path := filepath.Join(host.Dir, "sandpool.sock")
	if err := startDaemon(path); err != nil {
		fmt.Fprintln(os.Stderr, "start daemon for examples:", err)
	}
	return path
})

func startDaemon(socket string) error {
	ctx, cancel := context.WithTimeout(context.Background(), daemonTime)
	defer cancel()
	program, err := host.Build(ctx, "sandpoold")
	if err != nil {
		return err
	}
	const slow = "1m" // the machine may be under load
	text, err := host.Trusted(host.Config(testhost.Settings{
		"daemon":            {"socket": socket, "state_dir": filepath.Join(host.Dir, "state")},
		"limits":            {"claim_wait": slow, "pause_timeout": slow, "kill_timeout": slow},
		"reserves":          testhost.NoReserves,
		"checkpoints":       {"dir": filepath.Join(host.Dir, "checkpoints")},
		"templates.default": {"image": configs.FileScheme + host.Image},
		"pools.default":     {"min": 1, "target": 1, "max": 4},
	}))
	config := filepath.Join(host.Dir, "sandpoold.toml")
	if err := errors.Join(err, os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return err
	}
	daemon, err := host.Spawn("sandpoold", exec.Command(program, "--config", config))
	if err != nil {
		return err
	}
	return daemon.AwaitSocket(ctx, socket)
}
