package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	ociplatforms "github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// When a reference is looked up at its registry.
const (
	PullMissing = "missing" // when containerd does not have it
	PullAlways  = "always"  // whenever a template is made ready
	PullNever   = "never"
)

// ImagePolicy is how images are fetched and how long they are kept. All fields but HostsDir, DockerConfig, TokenHosts and the sizes are required.
type ImagePolicy struct {
	Pull         string
	HostsDir     string        // a folder like containerd's certs.d; empty: none
	DockerConfig string        // path of Docker's config.json; empty: the usual places
	TokenHosts   []string      // hosts beside a registry's own that may get its password, by HTTPS
	PullTimeout  time.Duration // for all that makes one image usable
	StallTimeout time.Duration // a registry that sends nothing for so long is given up
	MaxUnpacked  int64         // bytes of one image; 0: any number
	KeepFree     int64         // bytes of the disk that no image takes
	KeepUnused   time.Duration // of images that this engine fetched
}

// SetImages changes the policy of what is fetched from now on.
func (e *Engine) SetImages(p ImagePolicy) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.policy = p
}

func (e *Engine) imagePolicy() ImagePolicy {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.policy
}

// source is where an image comes from.
type source interface {
	// find returns the image as containerd has it, or a *missingError.
	find(ctx context.Context) (images.Image, error)
	// fetch gets the image, or the parts of it that are missing; why is what find or the check said.
	fetch(ctx context.Context, why error) (images.Image, error)
}

// missingError says what of an image containerd does not have.
type missingError struct{ what string }

func (m *missingError) Error() string { return m.what }

func (m *missingError) Unwrap() error { return errdefs.ErrNotFound }

// image returns the image of a template under its pinned name: fetched if need be, checked and unpacked. Its errors name the step.
func (e *Engine) image(ctx context.Context, template, ref string) (client.Image, error) {
	policy := e.imagePolicy()
	missed := fmt.Errorf("not done within %s (images.pull_timeout): %w", policy.PullTimeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(namespaces.WithNamespace(ctx, e.cfg.Namespace), policy.PullTimeout, missed)
	defer cancel()
	f, err := e.images.begin(ctx, template, ref)
	if err != nil {
		return nil, err
	}
	f.policy = policy
	image, err := e.obtain(ctx, f)
	if err != nil {
		err = fmt.Errorf("image %s: %w", ref, err)
	}
	if status, worth := e.images.end(f, err); worth && !errors.Is(err, context.Canceled) {
		e.cfg.Fetched(status)
	}
	return image, err
}

func (e *Engine) obtain(ctx context.Context, f *fetch) (client.Image, error) {
	from := e.sourceOf(f)
	found, err := from.find(ctx)
	if err == nil {
		err = e.check(ctx, f, found.Target)
	}
	if _, isMissing := errors.AsType[*missingError](err); isMissing {
		if found, err = from.fetch(ctx, err); err == nil {
			err = e.check(ctx, f, found.Target)
		}
	}
	if err != nil {
		return nil, err
	}
	image, err := e.pin(ctx, f, found)
	if err != nil {
		return nil, err
	}
	return image, e.unpack(ctx, f, image)
}

func (e *Engine) sourceOf(f *fetch) source {
	if path, isFile := strings.CutPrefix(f.ref, "file://"); isFile {
		return &archive{e: e, f: f, path: path}
	}
	return &registry{e: e, f: f}
}

// step does one part of a fetch; its errors begin with the name.
func (e *Engine) step(ctx context.Context, f *fetch, state ImageState, name string, do func(context.Context) error) error {
	e.images.enter(f, state)
	return e.call(ctx, f.policy.PullTimeout, name, do)
}

// record returns containerd's record of a name, and keeps what it stands for from being pruned.
func (e *Engine) record(ctx context.Context, f *fetch, name string) (images.Image, error) {
	e.images.pruning.RLock()
	defer e.images.pruning.RUnlock()
	found, err := e.client.ImageService().Get(ctx, name)
	if errdefs.IsNotFound(err) {
		return found, &missingError{fmt.Sprintf("%q is not in containerd", name)}
	}
	if err != nil {
		return found, fmt.Errorf("get image %q: %w", name, native(err))
	}
	e.images.hold(f, found.Target.Digest)
	return found, nil
}

// check finds out whether an image is for this host, and whether all of it that is still needed is there. What is not there is a
// *missingError.
func (e *Engine) check(ctx context.Context, f *fetch, target ocispec.Descriptor) error {
	return e.step(ctx, f, ImageResolving, "check", func(ctx context.Context) error {
		if err := e.whole(ctx, target); err != nil {
			return err
		}
		manifest, err := images.Manifest(ctx, e.client.ContentStore(), target, ociplatforms.Default())
		if err != nil {
			return absent(err)
		}
		e.images.parts(f, manifest)
		return nil
	})
}

// whole is check without the step.
func (e *Engine) whole(ctx context.Context, target ocispec.Descriptor) error {
	store := e.client.ContentStore()
	if err := e.checkPlatform(ctx, target); err != nil {
		return err
	}
	manifest, err := images.Manifest(ctx, store, target, ociplatforms.Default())
	if err != nil {
		return absent(err)
	}
	if _, err := store.Info(ctx, manifest.Config.Digest); err != nil {
		return absent(err)
	}
	for _, layer := range manifest.Layers {
		if _, err := store.Info(ctx, layer.Digest); err == nil {
			continue
		}
		unpacked, err := client.NewImage(e.client, images.Image{Target: target}).IsUnpacked(ctx, e.cfg.Snapshotter)
		if err != nil {
			return fmt.Errorf("look for its snapshot: %w", err)
		}
		if !unpacked {
			return &missingError{fmt.Sprintf("its layer %s is missing or damaged", layer.Digest)}
		}
		return nil // the snapshot has all that the layers had
	}
	return nil
}

// absent makes of an error of the content store one that says what is missing, if that is what it says.
func absent(err error) error {
	if err = native(err); errdefs.IsNotFound(err) {
		return &missingError{"a part of it is missing or damaged: " + err.Error()}
	}
	return fmt.Errorf("read its manifest: %w", err)
}

// checkPlatform refuses an image that is for other hosts only.
func (e *Engine) checkPlatform(ctx context.Context, target ocispec.Descriptor) error {
	list, err := images.Platforms(ctx, e.client.ContentStore(), target)
	if err != nil {
		return absent(err)
	}
	return forThisHost(list)
}

func forThisHost(list []ocispec.Platform) error {
	var names []string
	for _, p := range list {
		if ociplatforms.Default().Match(p) {
			return nil
		}
		names = append(names, ociplatforms.Format(p))
	}
	if len(names) == 0 {
		return nil // it does not say
	}
	return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("it is for %s, this host is %s", strings.Join(names, ", "), ociplatforms.Format(ociplatforms.DefaultSpec())))
}

// unpack makes the snapshots of an image, and its lease hold them.
func (e *Engine) unpack(ctx context.Context, f *fetch, image client.Image) error {
	return e.step(ctx, f, ImageUnpacking, "unpack", func(ctx context.Context) error {
		if err := e.fits(ctx, f.policy, image); err != nil {
			return err
		}
		ctx = withImageLease(ctx, image.Target().Digest)
		if err := image.Unpack(ctx, e.cfg.Snapshotter); err != nil {
			return err
		}
		return e.leaseSnapshot(ctx, image)
	})
}
