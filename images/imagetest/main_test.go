//go:build images

package imagetest

import (
	"bytes"
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
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/scripts/testhost"
)

// patience is how long one thing may take on a machine under load; importing an image of half a gigabyte is one.
const patience = 8 * time.Minute

var host *testhost.Host

func TestMain(m *testing.M) {
	os.Exit(testhost.Main(m, testhost.Options{Namespace: "sandpool-images"}, &host))
}

const templateConfig = `
[templates.%[1]s]
image = "file://%[2]s/%[1]s.tar"
ready_timeout = "4m"
%[3]s

[pools.%[1]s]
target = 1
`

// daemon is a running sandpoold.
type daemon struct {
	client *client.Client
	socket string
}

// serve starts a daemon with a pool of each image; the test's end stops it.
func serve(t *testing.T, subjects []subject) daemon {
	t.Helper()
	var text strings.Builder
	for _, s := range subjects {
		fmt.Fprintf(&text, templateConfig, s.image, filepath.Dir(host.Image), s.template)
	}
	return launch(t, text.String(), func(start func() error) error { return start() })
}

// launch starts a daemon with these templates, on a thread that within chooses; the test's end stops it.
func launch(t *testing.T, templates string, within func(start func() error) error) daemon {
	t.Helper()
	socket := filepath.Join(host.Dir, "sandpool.sock")
	text := host.Config(testhost.Settings{
		"daemon":      {"socket": socket, "state_dir": filepath.Join(host.Dir, "sandpool")},
		"checkpoints": {"dir": filepath.Join(host.Dir, "checkpoints")},
		"limits":      {"start_timeout": "5m"},
	}, templates)
	file := filepath.Join(host.Dir, "sandpoold.toml")
	text, err := host.Trusted(text)
	if err := errors.Join(err, os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	var process *testhost.Process
	err = within(func() (err error) {
		process, err = host.Spawn("sandpoold", exec.CommandContext(context.WithoutCancel(t.Context()), program("sandpoold"), "--config", file))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(patience); err != nil {
			t.Errorf("stop sandpoold: %v", err)
		}
		if left := host.Leftovers(); len(left) > 0 {
			t.Errorf("left over:\n%s", strings.Join(left, "\n"))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := process.AwaitSocket(ctx, socket); err != nil {
		t.Fatal(err)
	}
	d := daemon{&client.Client{Socket: socket}, socket}
	t.Cleanup(d.client.Close)
	return d
}

// program is one of ours.
func program(name string) string { return filepath.Join(filepath.Dir(host.Init), name) }

// claim returns the id of a claim that the test's end releases.
func (d daemon) claim(t *testing.T, template string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	wait := lifetime.Duration(patience)
	claim, err := d.client.Claim(ctx, wire.ClaimRequest{Template: template, Wait: &wait})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.client.Release(context.WithoutCancel(t.Context()), claim.ID); err != nil {
			t.Errorf("release %s: %v", claim.ID, err)
		}
	})
	return claim.ID
}

// ask runs a command in the sandbox and returns its output.
func (d daemon) ask(t *testing.T, id, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, stderr bytes.Buffer
	exit, err := d.client.Exec(ctx, id, wire.ExecRequest{Args: []string{"sh", "-c", command}}, client.Stdio{Out: &out, Err: &stderr})
	if err != nil || exit != 0 {
		t.Errorf("%s\nends with %d, %v: %s", command, exit, err, stderr.String())
	}
	return strings.TrimSpace(out.String())
}
