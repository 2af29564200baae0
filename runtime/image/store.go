// Package image gets the images of templates from registries and archives into containerd, and lets them go when they are not used.
package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	ociplatforms "github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"sandpool/runtime/call"
)

// When a reference is looked up at its registry.
const (
	PullMissing = "missing" // when containerd does not have it
	PullAlways  = "always"  // whenever a template is made ready
	PullNever   = "never"
)

// Policy is how images are fetched and how long they are kept. All fields but HostsDir, DockerConfig, TokenHosts and the sizes are required.
type Policy struct {
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

// Config is what a store works with. All fields are required.
type Config struct {
	Client      *client.Client
	Namespace   string // of containerd
	Snapshotter string
	Calls       call.Caller
	ListTimeout time.Duration
	// PruneTimeout is for one round of Prune.
	PruneTimeout time.Duration

	Free    func(ctx context.Context) (uint64, error)  // bytes left on the disk that images are unpacked to
	Unseen  func(ctx context.Context, err error) error // says more of a file that is not there
	Fetched func(Status)                               // told when an image was pulled or imported, or when it cannot be had for a new reason
	Log     *slog.Logger
}

// Store fetches the images of templates into containerd, keeps them as long as they are used, and says how far each is. Its methods
// may be called from many goroutines.
type Store struct {
	cfg    Config
	book   book
	pauses pauses // that registries asked for

	mu     sync.Mutex
	policy Policy
}

// New makes a store that knows no template yet.
func New(cfg Config, p Policy) *Store {
	return &Store{cfg: cfg, policy: p, book: book{fetches: map[string]*fetch{}}}
}

// SetPolicy changes the policy of what is fetched from now on.
func (s *Store) SetPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

func (s *Store) current() Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
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

// Get returns the image of a template under its pinned name: fetched if need be, checked and unpacked. Its errors name the step.
func (s *Store) Get(ctx context.Context, template, ref string) (client.Image, error) {
	policy := s.current()
	missed := fmt.Errorf("not done within %s (images.pull_timeout): %w", policy.PullTimeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(namespaces.WithNamespace(ctx, s.cfg.Namespace), policy.PullTimeout, missed)
	defer cancel()
	f, err := s.book.begin(ctx, template, ref)
	if err != nil {
		return nil, err
	}
	f.policy = policy
	image, err := s.obtain(ctx, f)
	if err != nil {
		err = fmt.Errorf("image %s: %w", ref, err)
	}
	if status, worth := s.book.end(f, err); worth && !errors.Is(err, context.Canceled) {
		s.cfg.Fetched(status)
	}
	return image, err
}

func (s *Store) obtain(ctx context.Context, f *fetch) (client.Image, error) {
	from := s.sourceOf(f)
	found, err := from.find(ctx)
	if err == nil {
		err = s.check(ctx, f, found.Target)
	}
	if _, isMissing := errors.AsType[*missingError](err); isMissing {
		if found, err = from.fetch(ctx, err); err == nil {
			err = s.check(ctx, f, found.Target)
		}
	}
	if err != nil {
		return nil, err
	}
	image, err := s.pin(ctx, f, found)
	if err != nil {
		return nil, err
	}
	return image, s.unpack(ctx, f, image)
}

func (s *Store) sourceOf(f *fetch) source {
	if path, isFile := strings.CutPrefix(f.ref, "file://"); isFile {
		return &archive{s: s, f: f, path: path}
	}
	return &registry{s: s, f: f}
}

// step does one part of a fetch; its errors begin with the name.
func (s *Store) step(ctx context.Context, f *fetch, state State, name string, do func(context.Context) error) error {
	s.book.enter(f, state)
	return s.cfg.Calls.Do(ctx, f.policy.PullTimeout, call.Op{Verb: name}, do)
}

// record returns containerd's record of a name, and keeps what it stands for from being pruned.
func (s *Store) record(ctx context.Context, f *fetch, name string) (images.Image, error) {
	s.book.pruning.RLock()
	defer s.book.pruning.RUnlock()
	found, err := s.cfg.Client.ImageService().Get(ctx, name)
	if errdefs.IsNotFound(err) {
		return found, &missingError{fmt.Sprintf("%q is not in containerd", name)}
	}
	if err != nil {
		return found, fmt.Errorf("get image %q: %w", name, call.Native(err))
	}
	s.book.hold(f, found.Target.Digest)
	return found, nil
}

// check finds out whether an image is for this host, and whether all of it that is still needed is there. What is not there is a
// *missingError.
func (s *Store) check(ctx context.Context, f *fetch, target ocispec.Descriptor) error {
	return s.step(ctx, f, Resolving, "check", func(ctx context.Context) error {
		if err := s.whole(ctx, target); err != nil {
			return err
		}
		manifest, err := images.Manifest(ctx, s.cfg.Client.ContentStore(), target, ociplatforms.Default())
		if err != nil {
			return absent(err)
		}
		s.book.parts(f, manifest)
		return nil
	})
}

// whole is check without the step.
func (s *Store) whole(ctx context.Context, target ocispec.Descriptor) error {
	store := s.cfg.Client.ContentStore()
	if err := s.checkPlatform(ctx, target); err != nil {
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
		unpacked, err := client.NewImage(s.cfg.Client, images.Image{Target: target}).IsUnpacked(ctx, s.cfg.Snapshotter)
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
	if err = call.Native(err); errdefs.IsNotFound(err) {
		return &missingError{"a part of it is missing or damaged: " + err.Error()}
	}
	return fmt.Errorf("read its manifest: %w", err)
}

// checkPlatform refuses an image that is for other hosts only.
func (s *Store) checkPlatform(ctx context.Context, target ocispec.Descriptor) error {
	list, err := images.Platforms(ctx, s.cfg.Client.ContentStore(), target)
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
func (s *Store) unpack(ctx context.Context, f *fetch, image client.Image) error {
	return s.step(ctx, f, Unpacking, "unpack", func(ctx context.Context) error {
		if err := s.fits(ctx, f.policy, image); err != nil {
			return err
		}
		ctx = withImageLease(ctx, image.Target().Digest)
		if err := image.Unpack(ctx, s.cfg.Snapshotter); err != nil {
			return err
		}
		return s.leaseSnapshot(ctx, image)
	})
}
