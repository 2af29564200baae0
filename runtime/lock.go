package runtime

import (
	"context"
	"fmt"
	"path/filepath"

	"sandpool/runtime/hostpath"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/lockfile"
)

// lockState makes the state folder and takes it for this process.
func (e *Engine) lockState() error {
	for _, dir := range []string{e.cfg.StateDir, e.cfg.runscDir(), e.cfg.fifoDir(), e.cfg.shimDir()} {
		if err := hostpath.MakeFolder(dir, 0o711); err != nil { // the API socket may be in it, for users of its group
			return fmt.Errorf("make state folder: %w", err)
		}
	}
	var err error
	if e.state, err = lockfile.Take(e.cfg.StateDir, "lock", "stop it or set daemon.state_dir"); err != nil {
		return fmt.Errorf("lock the state folder %s: %w", e.cfg.StateDir, err)
	}
	if err := e.commands.OpenPipes(); err != nil {
		return err
	}
	return e.commands.SweepPipes(0) // of those of a daemon that was killed no more is needed than the ends that are open
}

// lockNamespace takes containerd's namespace for this process, whatever its state folder is: all that has a sandbox's id in it
// is this engine's. The lock lies beside containerd's socket as containerd itself sees it, so a daemon with other mounts or
// another network finds the same one.
func (e *Engine) lockNamespace(ctx context.Context) error {
	peer, err := hostproc.PeerOf(ctx, e.cfg.Address)
	if err != nil {
		return fmt.Errorf("find containerd's process: %w", err)
	}
	dir, name := filepath.Split(filepath.Join(hostproc.Root(peer.PID), peer.Socket))
	if e.namespace, err = lockfile.Take(dir, name+".sandpool-"+e.cfg.Namespace+".lock", "stop it or set containerd.namespace"); err != nil {
		return fmt.Errorf("lock namespace %q of containerd at %s: %w", e.cfg.Namespace, e.cfg.Address, err)
	}
	return nil
}
