package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sandpool/daemon/wire"
	"sandpool/scripts/testhost"
)

const (
	fillTimeout = 10 * time.Minute
	stopTimeout = time.Minute
)

// defaultConfig is the template of most of it.
const defaultConfig = `
[templates.default]
image = "file://%s"

[pools.default]
target = 8
max = 16
`

// interpreter is what sandboxes of the second template run, of which nothing is kept ready.
//
//go:embed interpreter.py
var interpreter string

// Claims of the type short are warned after 10 seconds and saved after 20.
const interpreterConfig = `
[lifetimes.short]
lifetime = "80s"
warning = "70s"
grace = "60s"

[templates.python]
image = "file://%s"
command = ["python3", "-c", %q]
ready_command = "test -e /tmp/ready"

[pools.python]
target = 0
`

// demo is a user at a terminal.
type demo struct {
	host   *testhost.Host
	in     io.Reader // of the user's shell, as errOut
	out    io.Writer
	errOut io.Writer
	bin    string // the folder of our programs
	cold   bool   // measure cold starts of large images
	idle   bool   // measure a large pool that nobody uses
	socket string
	daemon *testhost.Process
}

func newDemo(host *testhost.Host, out io.Writer) (*demo, error) {
	d := &demo{host: host, in: os.Stdin, out: out, errOut: os.Stderr, bin: filepath.Dir(host.Init), socket: filepath.Join(host.Dir, "sandpool.sock")}
	for _, path := range []string{host.Init, host.Image, host.Python, filepath.Join(d.bin, "sandpoold"), filepath.Join(d.bin, "sandpool")} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%w (`make build image` makes it)", err)
		}
	}
	return d, nil
}

// startDaemon writes a configuration, starts sandpoold on it and waits until its pool is full.
func (d *demo) startDaemon(ctx context.Context) error {
	h := d.host
	file := filepath.Join(h.Dir, "sandpoold.toml")
	onStop := "remove"
	if d.idle {
		onStop = "keep" // to remove so many takes longer than a stop may: the host does it
	}
	text := h.Config(testhost.Settings{
		"daemon":      {"socket": d.socket, "state_dir": filepath.Join(h.Dir, "sandpool"), "on_stop": onStop},
		"checkpoints": {"dir": filepath.Join(h.Dir, "checkpoints")},
	})
	templates := fmt.Sprintf(defaultConfig+interpreterConfig, h.Image, h.Python, interpreter)
	if d.cold {
		var err error
		if templates, err = d.coldTemplates(); err != nil {
			return err
		}
	}
	if d.idle {
		templates = fmt.Sprintf(idleConfig, h.Image, idleSandboxes)
	}
	text, err := h.Trusted(text + templates)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	d.say("A private containerd runs in %s.", h.Dir)
	d.typed("export CONTAINERD_ADDRESS=" + h.Address + " SANDPOOL_SOCKET=" + d.socket)
	d.typed("sandpoold --config " + file + " &")
	daemon, err := h.Spawn("sandpoold", d.command(context.WithoutCancel(ctx), "sandpoold", "--config", file))
	if err != nil {
		return err
	}
	d.daemon = daemon
	ctx, cancel := context.WithTimeoutCause(ctx, fillTimeout, fmt.Errorf("the pool is not full after %s", fillTimeout))
	defer cancel()
	if err := daemon.AwaitSocket(ctx, d.socket); err != nil {
		return err
	}
	return d.fill(ctx)
}

// fill shows a progress line until the pool is full.
func (d *demo) fill(ctx context.Context) error {
	line := newProgress(d.out)
	defer line.end()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		pool, err := d.pool(ctx)
		if err != nil {
			return err
		}
		line.show(pool)
		if pool.Available >= pool.Target {
			return nil
		}
		select {
		case <-tick.C:
		case <-d.daemon.Done():
			return errors.New("sandpoold ended while its pool filled")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pool asks for the state of the default pool.
func (d *demo) pool(ctx context.Context) (wire.Pool, error) {
	out, _, err := d.run(ctx, "sandpool", "pools", "--json")
	if err != nil {
		return wire.Pool{}, err
	}
	var list wire.PoolList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return wire.Pool{}, fmt.Errorf("decode the answer of sandpool pools: %w", err)
	}
	i := slices.IndexFunc(list.Pools, func(p wire.Pool) bool { return p.Template == "default" })
	if i < 0 {
		return wire.Pool{}, fmt.Errorf("sandpool pools lists no pool of the default template: %s", out)
	}
	return list.Pools[i], nil
}

// stopDaemon stops sandpoold, which removes its sandboxes, and looks for anything that it forgot.
func (d *demo) stopDaemon(ctx context.Context) error {
	d.typed(fmt.Sprintf("kill %d   # sandpoold; on_stop = \"remove\"", d.daemon.Pid()))
	if err := d.daemon.Stop(stopTimeout); err != nil {
		return fmt.Errorf("stop sandpoold: %w", err)
	}
	for _, kind := range []string{"tasks", "containers"} {
		out, _, err := d.run(ctx, "ctr", "-n", d.host.Namespace, kind, "ls", "-q")
		if err != nil {
			return err
		}
		if out != "" {
			return fmt.Errorf("sandpoold left %s: %s", kind, strings.Fields(out))
		}
	}
	if left := d.host.Leftovers(); len(left) > 0 {
		return fmt.Errorf("sandpoold left behind:\n  %s", strings.Join(left, "\n  "))
	}
	return nil
}

// command returns a command in the environment of the demo's user.
func (d *demo) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	for _, dir := range []string{d.bin, filepath.Dir(d.host.Ctr)} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			name = path
			break
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "CONTAINERD_ADDRESS="+d.host.Address, "SANDPOOL_SOCKET="+d.socket)
	return cmd
}

// run runs a command and returns its output. Its error tells what the command said.
func (d *demo) run(ctx context.Context, name string, args ...string) (stdout, stderr string, err error) {
	cmd := d.command(ctx, name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", "", fmt.Errorf("%s: %w: %s", quote(append([]string{name}, args...)), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), errOut.String(), nil
}
