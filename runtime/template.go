package runtime

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/call"
	"sandpool/runtime/rootfs"
	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
)

// keptLabel keeps a snapshot from containerd's garbage collection.
const keptLabel = "containerd.io/gc.root"

// Prepared is a Template that sandboxes can be started from: what those of one kind have in common.
type Prepared struct {
	template.Template

	name        string
	image       string      // empty for a sandbox that has nothing but the init
	digest      string      // of the image
	parent      string      // snapshot of the image's layers
	spec        *specs.Spec // the sandbox's own names are filled in later
	shared      []byte      // that as JSON, without such names
	command     string      // the program that the init starts; empty: none
	platform    string      // of gVisor; this and disk follow from the spec
	disk        string      // bytes that a sandbox may write; empty: any number
	setuid      bool
	shim        runsc.ShimFile // what the sandboxes' shims read, but for what is each sandbox's own
	fingerprint string
}

// Prepare makes a template ready to start sandboxes from: its image is pulled or imported if need be, and unpacked.
func (e *Engine) Prepare(ctx context.Context, name string, t template.Template) (*Prepared, error) {
	what := fmt.Sprintf("prepare template %q", name)
	image, err := e.images.Get(ctx, name, t.Image)
	if err != nil {
		return nil, atStep(StepImage, what, err)
	}
	var ready *Prepared
	err = e.calls.Do(ctx, e.cfg.StartTimeout, call.Op{Verb: "prepare", Object: fmt.Sprintf("template %q", name)}, func(ctx context.Context) (err error) {
		if ready, err = e.prepare(ctx, image, t); err != nil {
			return atStep(StepSettings, "", err)
		}
		ready.name = name
		ready.fingerprint, err = e.fingerprint(ready)
		return err
	})
	if err == nil && t.Platform != "" {
		err = atStep(StepSettings, fmt.Sprintf("prepare template %q", name), e.usable(ctx, t.Platform))
	}
	if err != nil {
		return nil, err
	}
	return ready, nil
}

// Fingerprint names all that sandboxes of p are started from: image, command, prewarming and readiness, init, runsc
// and its flags.
func (t *Prepared) Fingerprint() string { return t.fingerprint }

// Digest is that of the image.
func (t *Prepared) Digest() string { return t.digest }

// prepare works out what sandboxes of t share. image may be nil: then they hold nothing but the init.
func (e *Engine) prepare(ctx context.Context, image client.Image, t template.Template) (*Prepared, error) {
	if _, ok := e.runsc.Flags[runsc.FlagSetuid]; t.AllowSetuid && !ok {
		return nil, fmt.Errorf("allow_setuid: the installed runsc has no flag %s: install a newer one", runsc.FlagSetuid)
	}
	ready := &Prepared{Template: t}
	var config ocispec.ImageConfig
	if image != nil {
		if err := ready.use(ctx, image); err != nil {
			return nil, err
		}
		of, err := image.Spec(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the image's configuration: %w", err)
		}
		config = of.Config
	}
	spec, command, err := e.baseSpec(ctx, ready.parent, config, t)
	if err != nil {
		return nil, e.unseen(ctx, err)
	}
	spec.Process.Args = []string{template.InitPath}
	if len(command) > 0 {
		ready.command = command[0]
		spec.Process.Args = append(spec.Process.Args, append([]string{"await", "--"}, command...)...)
	}
	return ready, e.follow(ready, spec)
}

// follow makes spec the one that sandboxes of t are started with, and takes from it what else they are started with.
func (e *Engine) follow(t *Prepared, spec *specs.Spec) (err error) {
	if t.shared, err = template.SharedSpec(spec); err != nil {
		return err
	}
	notes := template.NotesOf(spec)
	t.spec, t.platform, t.disk, t.setuid = spec, cmp.Or(notes.Platform, e.info.Platform), notes.Disk, notes.Setuid
	t.shim, err = e.shimFile(t)
	return err
}

// use makes an image the one that sandboxes of t have.
func (t *Prepared) use(ctx context.Context, image client.Image) error {
	diffIDs, err := image.RootFS(ctx)
	if err != nil {
		return fmt.Errorf("read layers of image %q: %w", image.Name(), err)
	}
	t.image, t.digest, t.parent = image.Name(), image.Target().Digest.String(), identity.ChainID(diffIDs).String()
	return nil
}

// baseSpec makes the OCI spec that t and the image's configuration ask for, and returns the command too that the init is to run. The
// image's files are read in a view of them.
func (e *Engine) baseSpec(ctx context.Context, parent string, config ocispec.ImageConfig, t template.Template) (spec *specs.Spec, command []string, err error) {
	key := NewID()
	defer e.hide(key)() // to a sweep it is named as a sandbox
	if spec, err = oci.GenerateSpec(ctx, e.client, &containers.Container{ID: key}); err != nil {
		return nil, nil, fmt.Errorf("make spec: %w", err)
	}
	views := e.client.SnapshotService(e.cfg.Snapshotter)
	view, err := views.View(ctx, key, parent, snapshots.WithLabels(map[string]string{keptLabel: time.Now().UTC().Format(time.RFC3339)}))
	if err != nil {
		return nil, nil, fmt.Errorf("view image: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), call.CleanupTimeout)
		defer cancel()
		if err := views.Remove(ctx, key); err != nil {
			e.log.Warn("view of an image could not be removed; the next sweep does", "snapshot", key, "err", err)
		}
	}()
	err = mount.WithReadonlyTempMount(ctx, view, func(dir string) error {
		files, err := rootfs.Open(dir)
		if err != nil {
			return err
		}
		defer func() { _ = files.Close() }()
		command, err = t.Settle(spec, config, files, e.cfg.Init)
		return err
	})
	return spec, command, err
}

func (e *Engine) fingerprint(t *Prepared) (string, error) {
	h := sha256.New()
	for _, path := range []string{e.cfg.Init, runsc.PlatformFile(e.cfg.StateDir, t.platform)} {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("fingerprint: %w", err)
		}
		_, _ = fmt.Fprintf(h, "%d\n%s", len(data), data)
	}
	_, _ = fmt.Fprintf(h, "%s\n%s\n%s\n%q\n%q %d %s", e.info.Runsc, t.digest, t.shared, t.Prewarm, t.ReadyCommand, t.ReadyPort, t.Network)
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
