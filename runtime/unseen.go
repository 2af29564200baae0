package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sandpool/runtime/hostproc"
	"sandpool/runtime/resource"
)

// unseen says of a file that is not there if it is there for containerd: a service of systemd has a /tmp of its own.
func (e *Engine) unseen(ctx context.Context, err error) error {
	missing, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(missing, fs.ErrNotExist) {
		return err
	}
	pid, other := resource.ContainerdPID(ctx, e.cfg.Address)
	if other == nil {
		_, other = os.Stat(filepath.Join(hostproc.Root(pid), missing.Path))
	}
	if other != nil {
		return err
	}
	return fmt.Errorf("%w; containerd sees %s, this daemon does not: a service has a /tmp and /var/tmp of its own (PrivateTmp=), so put it into another folder", err, missing.Path)
}
