package networktest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/scripts/outside"
	"sandpool/scripts/testhost"
)

// Patience is how long one thing may take on a machine under load.
const Patience = 2 * time.Minute

// authorities is the file in the host's folder that has who signed the certificates of the world.
const authorities = "ca.pem"

// Network runs a function on a thread of a network, which is that of the processes that the function starts.
type Network func(do func() error) error

// Daemon is a sandpoold that has an outside of its own.
type Daemon struct {
	*client.Client
	World   *outside.World
	Program string
	Config  string
	Process *testhost.Process

	host    *testhost.Host
	network Network
}

// Start starts a daemon with these templates, in a network that is made from the outside's. The test's end stops it, checks that nothing is
// left, and only then does what the making of the network left it to do.
func Start(t *testing.T, host *testhost.Host, templates string, network func(*outside.World) Network) *Daemon {
	t.Helper()
	world := outside.StartFor(t)
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
	d := &Daemon{Client: &client.Client{Socket: socket}, World: world, Program: program, Config: file, host: host, network: network(world)}
	t.Cleanup(func() { d.stop(t) })
	d.Spawn(t)
	return d
}

func (d *Daemon) stop(t *testing.T) {
	t.Helper()
	d.Close()
	if d.Process != nil {
		if err := d.Process.Stop(Patience); err != nil {
			t.Errorf("stop sandpoold: %v", err)
		}
	}
	if left := d.host.Leftovers(); len(left) > 0 {
		t.Errorf("left over:\n%s", strings.Join(left, "\n"))
	}
}

// Spawn starts the program in its network, and waits until it serves.
func (d *Daemon) Spawn(t *testing.T) {
	t.Helper()
	err := d.network(func() (err error) {
		d.Process, err = d.host.Spawn("sandpoold", exec.CommandContext(context.WithoutCancel(t.Context()), d.Program, "--config", d.Config))
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if err == nil {
		err = d.Process.AwaitSocket(ctx, d.Socket)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ClaimID returns the id of a claim, which ends with the daemon at the latest.
func (d *Daemon) ClaimID(t *testing.T, req wire.ClaimRequest) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	wait := lifetime.Duration(Patience)
	req.Wait = &wait
	claim, err := d.Claim(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return claim.ID
}

// run runs a command line in a sandbox and returns all that it says.
func (d *Daemon) run(t *testing.T, id, line string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var out bytes.Buffer
	code, err := d.Exec(ctx, id, wire.ExecRequest{Args: []string{"sh", "-c", line}}, client.Stdio{Out: &out, Err: &out})
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	return strings.TrimSpace(out.String()), code
}

// Wants runs a command line in a sandbox that has to say something.
func (d *Daemon) Wants(t *testing.T, id, line, want string) {
	t.Helper()
	if said, code := d.run(t, id, line); !strings.Contains(said, want) {
		t.Errorf("%s: %s says %q, %d; want %q", id, line, said, code, want)
	}
}
