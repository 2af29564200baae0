package runtime

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/image-spec/identity"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// initPath is where a sandbox finds its init.
const initPath = "/.sandpool/init"

// Template says what a sandbox is made from.
type Template struct {
	Image        string   // a reference, or file:///absolute/path of an archive to import
	Command      []string // run as the init's child; empty: the init waits
	ImageCommand bool     // run the image's own command instead
	Env          []string // KEY=VALUE, added to the image's
	User         string   // name or number in the image, or either with :group; empty: the image's
	Cwd          string   // absolute path in the sandbox; empty: the image's
	Platform     string   // of gVisor; empty: the engine's
	Limits       Limits
	Mounts       []Mount

	Prewarm        []string // command lines for /bin/sh, run in each sandbox before it counts as ready
	PrewarmTimeout time.Duration
	ReadyCommand   string // command line that must succeed, if not empty
	ReadyPort      int    // TCP port that must accept a connection inside the sandbox, if not 0
	ReadyTimeout   time.Duration
}

// Prepared is a Template that sandboxes can be started from: what those of one kind have in common.
type Prepared struct {
	Template
	name        string
	image       string // empty for a sandbox that has nothing but the init
	digest      string // of the image
	parent      string // snapshot of the image's layers
	spec        []byte // OCI spec as JSON; the sandbox's own names are filled in later
	command     string // the program that the init starts; empty: none
	platform    string // of gVisor; this and disk follow from the spec
	disk        string // bytes that a sandbox may write; empty: any number
	fingerprint string
}

// Prepare makes a template ready to start sandboxes from: its image is pulled or imported if need be, and unpacked.
func (e *Engine) Prepare(ctx context.Context, name string, t Template) (*Prepared, error) {
	what := fmt.Sprintf("prepare template %q", name)
	image, err := e.image(ctx, name, t.Image)
	if err != nil {
		return nil, atStep(StepImage, what, err)
	}
	var ready *Prepared
	err = e.call(ctx, e.cfg.StartTimeout, what, func(ctx context.Context) (err error) {
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
func (e *Engine) prepare(ctx context.Context, image client.Image, t Template) (*Prepared, error) {
	ready := &Prepared{Template: t}
	var opts []oci.SpecOpts
	if image != nil {
		if err := ready.use(ctx, image); err != nil {
			return nil, err
		}
		opts = append(opts, oci.WithImageConfig(image))
	}
	spec, err := e.baseSpec(ctx, ready.parent, t, opts)
	if err != nil {
		return nil, e.unseen(ctx, err)
	}
	command := t.Command
	if t.ImageCommand {
		command = spec.Process.Args
	}
	spec.Process.Args = []string{initPath}
	if len(command) > 0 {
		ready.command = command[0]
		spec.Process.Args = append(spec.Process.Args, append([]string{"--"}, command...)...)
	}
	return ready, e.follow(ready, spec)
}

// follow makes spec the one that sandboxes of t are started with, and takes from it what else they are started with.
func (e *Engine) follow(t *Prepared, spec *specs.Spec) (err error) {
	if t.spec, err = json.Marshal(spec); err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	t.platform, t.disk = cmp.Or(spec.Annotations[platformAnnotation], e.info.Platform), spec.Annotations[diskAnnotation]
	return nil
}

// options are the parts of a spec that the template asks for beside its image.
func (t Template) options() []oci.SpecOpts {
	opts := []oci.SpecOpts{oci.WithEnv(t.Env), withLimits(t.Limits), withMounts(t.Mounts)}
	if t.User != "" {
		opts = append(opts, withUser(t.User))
	}
	if t.Cwd != "" {
		opts = append(opts, oci.WithProcessCwd(t.Cwd))
	}
	if t.Platform != "" {
		opts = append(opts, oci.WithAnnotations(map[string]string{platformAnnotation: t.Platform}))
	}
	return opts
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

// baseSpec makes the OCI spec that t and opts, which come first, ask for. Users and groups are looked up in a view of the image's files.
func (e *Engine) baseSpec(ctx context.Context, parent string, t Template, opts []oci.SpecOpts) (*specs.Spec, error) {
	key := NewID()
	ctx, release, err := e.lease(ctx, key)
	if err != nil {
		return nil, err
	}
	defer release()
	snapshots := e.client.SnapshotService(e.cfg.Snapshotter)
	files, err := snapshots.View(ctx, key, parent)
	if err != nil {
		return nil, fmt.Errorf("view image: %w", err)
	}
	defer func() { _ = snapshots.Remove(ctx, key) }() // the lease's end would remove it too
	container := &containers.Container{ID: key, Snapshotter: e.cfg.Snapshotter, SnapshotKey: key}
	opts = append(opts, t.options()...)
	opts = append(opts, withTemporary(t.Limits, files),
		oci.WithMounts([]specs.Mount{{
			Destination: initPath, Type: "bind", Source: e.cfg.Init, Options: []string{"rbind", "ro"},
		}}),
		// Without it the stock shim captures the output of `runsc create` through a pipe that the sentry keeps open,
		// and the create never returns (gVisor #12198).
		oci.WithAnnotations(map[string]string{"io.kubernetes.cri.container-type": "sandbox"}),
	)
	spec, err := oci.GenerateSpec(ctx, e.client, container, opts...)
	if err != nil {
		return nil, fmt.Errorf("make spec: %w", err)
	}
	return spec, nil
}

// sandboxSpec is the template's spec with the sandbox's own names in it.
func (t *Prepared) sandboxSpec(namespace, id string) (*specs.Spec, error) {
	spec := &specs.Spec{}
	if err := json.Unmarshal(t.spec, spec); err != nil {
		return nil, fmt.Errorf("decode spec: %w", err)
	}
	spec.Hostname = id
	spec.Linux.CgroupsPath = filepath.Join("/", namespace, id)
	return spec, nil
}

func (e *Engine) fingerprint(t *Prepared) (string, error) {
	h := sha256.New()
	for _, path := range []string{e.cfg.Init, e.cfg.platformFile(t.platform)} {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("fingerprint: %w", err)
		}
		_, _ = fmt.Fprintf(h, "%d\n%s", len(data), data)
	}
	spec, err := sharedSpec(t.spec)
	if err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	_, _ = fmt.Fprintf(h, "%s\n%s\n%s\n%q\n%q %d", e.info.Runsc, t.digest, spec, t.Prewarm, t.ReadyCommand, t.ReadyPort)
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
