package networktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/scripts/outside"
	"sandpool/scripts/testhost"
)

// patience is how long one thing may take on a machine under load.
const patience = 2 * time.Minute

var host *testhost.Host

func TestMain(m *testing.M) {
	namespace := fmt.Sprintf("sandpool-network-%d", os.Getpid()) // two runs at once must not see each other's cgroups
	os.Exit(testhost.Main(m, testhost.Options{Namespace: namespace}, &host))
}

// authorities is the file in the host's folder that has who signed the certificates of the world.
const authorities = "ca.pem"

// daemon is a sandpoold in a world of its own.
type daemon struct {
	*client.Client
	world   *outside.World
	program string
	config  string
	process *testhost.Process
}

// start starts a daemon with these templates. The test's end stops it, and checks that nothing is left.
func start(t *testing.T, templates string) *daemon {
	t.Helper()
	world, err := outside.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	program, err := host.Build(t.Context(), "sandpoold")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(host.Dir, "d.sock")
	text, err := host.Trusted(host.Config(testhost.Settings{
		"daemon":      {"socket": socket, "state_dir": filepath.Join(host.Dir, "sandpool"), "on_stop": "remove"},
		"checkpoints": {"dir": filepath.Join(host.Dir, "checkpoints")},
		"reserves":    testhost.NoReserves,
	}, templates))
	file := filepath.Join(host.Dir, "sandpoold.toml")
	if err := errors.Join(err, os.WriteFile(file, []byte(text), 0o600), os.WriteFile(filepath.Join(host.Dir, authorities), world.CA, 0o600)); err != nil {
		t.Fatal(err)
	}
	d := &daemon{Client: &client.Client{Socket: socket}, world: world, program: program, config: file}
	t.Cleanup(func() {
		d.Close()
		if err := d.process.Stop(patience); err != nil {
			t.Errorf("stop sandpoold: %v", err)
		}
		if left := host.Leftovers(); len(left) > 0 {
			t.Errorf("left over:\n%s", strings.Join(left, "\n"))
		}
	})
	d.spawn(t)
	return d
}

// spawn starts the program in the world, and waits until it serves.
func (d *daemon) spawn(t *testing.T) {
	t.Helper()
	err := d.world.Do(func() (err error) {
		d.process, err = host.Spawn("sandpoold", exec.CommandContext(context.WithoutCancel(t.Context()), d.program, "--config", d.config))
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err == nil {
		err = d.process.AwaitSocket(ctx, d.Socket)
	}
	if err != nil {
		t.Fatal(err)
	}
}
