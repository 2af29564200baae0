package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Mount is what a sandbox sees at Target: a folder or file of the host, or with Size an empty file system in its memory.
type Mount struct {
	Source   string // absolute path on the host
	Target   string // absolute path in the sandbox
	ReadOnly bool   // of a Source
	Size     int64  // bytes; there is no Source then
}

// temporary is where gVisor mounts a file system in memory by itself, of half of the host's memory, if the image has
// nothing there.
const temporary = "/tmp"

func (m Mount) spec() specs.Mount {
	if m.Size > 0 {
		options := []string{"nosuid", "nodev", "mode=1777", "size=" + strconv.FormatInt(m.Size, 10)}
		return specs.Mount{Destination: filepath.Clean(m.Target), Type: "tmpfs", Source: "tmpfs", Options: options}
	}
	access := "rw"
	if m.ReadOnly {
		access = "ro"
	}
	return specs.Mount{Destination: filepath.Clean(m.Target), Type: "bind", Source: m.Source, Options: []string{"rbind", access}}
}

// withMounts adds mounts to a spec, a parent before what is in it.
func withMounts(mounts []Mount) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		added := make([]specs.Mount, 0, len(mounts))
		for _, m := range mounts {
			if _, err := os.Stat(m.Source); m.Size == 0 && err != nil {
				return fmt.Errorf("mount on %s: %w: mend the template's mount or make its source", m.Target, err)
			}
			added = append(added, m.spec())
		}
		slices.SortStableFunc(added, func(a, b specs.Mount) int { return strings.Compare(a.Destination, b.Destination) })
		for _, m := range added { // in place of what is there by default
			s.Mounts = slices.DeleteFunc(s.Mounts, func(old specs.Mount) bool { return old.Destination == m.Destination })
		}
		s.Mounts = append(s.Mounts, added...)
		return nil
	}
}

// withTemporary bounds the file system that gVisor would mount on /tmp, to half of the sandbox's memory: being killed for
// what one wrote there is worse than being refused.
func withTemporary(l Limits, snapshot []mount.Mount) oci.SpecOpts {
	return func(ctx context.Context, client oci.Client, c *containers.Container, s *oci.Spec) error {
		within := func(m specs.Mount) bool {
			return m.Destination == temporary || strings.HasPrefix(m.Destination, temporary+"/")
		}
		if l.Memory == 0 || slices.ContainsFunc(s.Mounts, within) {
			return nil
		}
		empty := true
		err := mount.WithReadonlyTempMount(ctx, snapshot, func(root string) error {
			image, err := os.OpenRoot(root)
			if err != nil {
				return err
			}
			defer func() { _ = image.Close() }()
			entries, err := fs.ReadDir(image.FS(), strings.TrimPrefix(temporary, "/"))
			empty = err == nil && len(entries) == 0 || errors.Is(err, fs.ErrNotExist)
			return nil // what is not a folder is left alone, as gVisor does
		})
		if err != nil || !empty {
			return err
		}
		return withMounts([]Mount{{Target: temporary, Size: l.Memory / 2}})(ctx, client, c, s)
	}
}
