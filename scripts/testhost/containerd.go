package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// config turns off what no sandbox needs: it makes starts quick and keeps containerd inside its folder.
const (
	configFile = "containerd.toml"
	config     = `version = 3
root = %[1]q
state = %[2]q
disabled_plugins = [
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
  "io.containerd.differ.v1.erofs", "io.containerd.mount-handler.v1.erofs", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.image-verifier.v1.bindir", "io.containerd.internal.v1.opt",
  "io.containerd.monitor.container.v1.restart", "io.containerd.nri.v1.nri",
]
[debug]
level = "warn"
[grpc]
address = %[3]q
[ttrpc]
address = %[4]q
`
)

// runscFile configures the shim for Run.
const (
	runscFile   = "runsc.toml"
	runscConfig = "[runsc_config]\nplatform = \"systrap\"\nnetwork = \"none\"\n"
)

// StartContainerd starts containerd on the host's folder and waits until it answers. It must not run already.
func (h *Host) StartContainerd(ctx context.Context) error {
	h.mu.Lock()
	running := h.containerd != nil
	h.mu.Unlock()
	if running {
		return errors.New("start containerd: it runs already")
	}
	if err := h.writeConfig(); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	cmd := h.ns.command(filepath.Join(h.stack, "containerd"), "--config", filepath.Join(h.Dir, configFile))
	// Containerd finds the shim, and the shim finds runsc, in PATH.
	cmd.Env = append(os.Environ(), "PATH="+h.stack+":"+os.Getenv("PATH"))
	p, err := h.Spawn("containerd", cmd)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.containerd = p
	h.mu.Unlock()
	return h.awaitContainerd(ctx, p)
}

func (h *Host) writeConfig() error {
	h.Address = filepath.Join(h.Dir, "containerd.sock")
	text := fmt.Sprintf(config, filepath.Join(h.Dir, "root"), filepath.Join(h.Dir, "state"), h.Address, h.Address+".ttrpc")
	if err := os.WriteFile(filepath.Join(h.Dir, configFile), []byte(text), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(h.Dir, runscFile), []byte(runscConfig), 0o600)
}

// awaitContainerd asks until containerd answers: its socket accepts long before.
func (h *Host) awaitContainerd(ctx context.Context, p *Process) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("containerd did not answer within %s", startTimeout))
	defer cancel()
	if err := p.AwaitSocket(ctx, h.Address); err != nil {
		return err
	}
	if out, err := h.Command(ctx, "version").CombinedOutput(); err != nil {
		return fmt.Errorf("ask containerd for its version: %w: %s", err, out)
	}
	return nil
}

// StopContainerd stops containerd as an init system would, with SIGTERM. Sandboxes live on.
func (h *Host) StopContainerd() error {
	p, err := h.takeContainerd()
	if err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	return p.Stop(stopTimeout)
}

// Kill ends containerd with SIGKILL. Sandboxes live on.
func (h *Host) Kill() error {
	p, err := h.takeContainerd()
	if err != nil {
		return fmt.Errorf("kill containerd: %w", err)
	}
	p.Kill()
	return nil
}

// Restart stops containerd and starts it again. Sandboxes live on.
func (h *Host) Restart(ctx context.Context) error {
	if err := h.StopContainerd(); err != nil {
		return err
	}
	return h.StartContainerd(ctx)
}

// Pid returns containerd's process id, or 0 while it is down.
func (h *Host) Pid() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.containerd == nil {
		return 0
	}
	return h.containerd.Pid()
}

func (h *Host) takeContainerd() (*Process, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.containerd
	if p == nil {
		return nil, errors.New("it does not run")
	}
	h.containerd = nil
	return p, nil
}
