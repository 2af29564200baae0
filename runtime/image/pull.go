package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	ociplatforms "github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

const (
	// localDomain is that of images which are made on hosts and lie in no registry.
	localDomain = "sandpool.local"
	// downloads is how many blobs of one image are pulled at once.
	downloads = 3
)

// registry is the source of an image that is named by a reference.
type registry struct {
	s *Store
	f *fetch

	target ocispec.Descriptor // what the reference stands for at the registry, once that was asked
}

// find returns what containerd has by the reference, or, if the registry is to be asked each time, what it has of what the
// registry says. When the registry cannot say, what containerd has will do: a host restarts while its registry is away.
func (r *registry) find(ctx context.Context) (images.Image, error) {
	if r.f.policy.Pull != PullAlways || r.refuses() != "" {
		return r.known(ctx)
	}
	name, err := r.resolve(ctx)
	if err != nil {
		known, missing := r.known(ctx)
		if missing != nil {
			return known, err
		}
		r.s.cfg.Log.Warn("the registry could not be asked; the image that is there is used", "image", r.f.ref, "digest", known.Target.Digest, "err", err)
		return known, nil
	}
	found, err := r.s.record(ctx, r.f, pinName(name, r.target.Digest))
	if err == nil {
		err = r.s.nameImage(ctx, name, found.Target)
	}
	found.Name = name
	return found, err
}

// known returns what containerd has by the reference, as it is or in full.
func (r *registry) known(ctx context.Context) (images.Image, error) {
	found, err := r.s.record(ctx, r.f, r.f.ref)
	if full, named := fullName(r.f.ref); named == nil && full.String() != r.f.ref {
		if _, isMissing := errors.AsType[*missingError](err); isMissing {
			return r.s.record(ctx, r.f, full.String())
		}
	}
	return found, err
}

// refuses says why the image is not pulled whatever else is the case, or nothing.
func (r *registry) refuses() string {
	full, err := fullName(r.f.ref)
	switch {
	case err != nil:
		return fmt.Sprintf("it cannot be pulled, since its reference is none: %s", err)
	case r.f.policy.Pull == PullNever:
		return `it is not pulled, since images.pull is "never"`
	case reference.Domain(full) == localDomain:
		return "it is not pulled, since images of " + localDomain + " are in no registry"
	default:
		return ""
	}
}

// fullName is a reference with all that it leaves out, as the registry's and the tag.
func fullName(ref string) (reference.Named, error) { return reference.ParseDockerRef(ref) }

// fetch pulls the image under its pinned name, and then lets its own name stand for it.
func (r *registry) fetch(ctx context.Context, why error) (images.Image, error) {
	if no := r.refuses(); no != "" {
		return images.Image{}, fmt.Errorf("%w; %s: import it with `ctr -n %s images import ARCHIVE`", why, no, r.s.cfg.Namespace)
	}
	full, err := fullName(r.f.ref)
	if err != nil {
		return images.Image{}, err
	}
	if r.target.Digest == "" {
		if _, err := r.resolve(ctx); err != nil {
			return images.Image{}, err
		}
	}
	if err := r.pull(ctx, full.String()); err != nil {
		return images.Image{}, err
	}
	return images.Image{Name: full.String(), Target: r.target}, r.s.nameImage(ctx, full.String(), r.target)
}

// resolve asks the registry what the reference stands for, and returns the reference in full.
func (r *registry) resolve(ctx context.Context) (string, error) {
	full, err := fullName(r.f.ref)
	if err != nil {
		return "", err
	}
	err = r.online(ctx, Resolving, "resolve", func(ctx context.Context, resolver remotes.Resolver) error {
		_, target, err := resolver.Resolve(ctx, full.String())
		r.target = target
		return err
	})
	return full.String(), err
}

// pull gets all of the image that is for this host and that containerd does not have. The image's lease holds what was got.
func (r *registry) pull(ctx context.Context, name string) error {
	r.s.book.hold(r.f, r.target.Digest)
	if err := r.s.leaseImage(ctx, r.target.Digest); err != nil {
		return err
	}
	return r.online(ctx, Pulling, "pull", func(ctx context.Context, resolver remotes.Resolver) error {
		ctx = withImageLease(ctx, r.target.Digest)
		noted := images.HandlerFunc(func(_ context.Context, blob ocispec.Descriptor) ([]ocispec.Descriptor, error) {
			if most := r.f.policy.MaxUnpacked; r.s.book.pulls(r.f, blob) > most && most > 0 {
				return nil, tooLarge(most)
			}
			return nil, nil
		})
		_, err := r.s.cfg.Client.Pull(ctx, pinName(name, r.target.Digest), client.WithResolver(resolver),
			client.WithPlatformMatcher(ociplatforms.Default()), client.WithImageHandler(noted),
			client.WithMaxConcurrentDownloads(downloads), client.WithPullLabels(ownLabels(r.target.Digest)))
		// Of an index without this host's platform containerd says that something was not found.
		if foreign := r.s.checkPlatform(ctx, r.target); errdefs.IsNotFound(err) && errdefs.IsFailedPrecondition(foreign) {
			return foreign
		}
		if _, paused := errors.AsType[*pausedError](err); err != nil && !paused && context.Cause(ctx) == nil {
			r.s.abandon(ctx, r.s.book.pulled(r.f))
		}
		return err
	})
}

// abandon drops what was got of blobs, since the next attempt would go on from there: it may be what was wrong.
func (s *Store) abandon(ctx context.Context, blobs []ocispec.Descriptor) {
	for _, blob := range blobs {
		if err := s.cfg.Client.ContentStore().Abort(ctx, remotes.MakeRefKey(ctx, blob)); err != nil && !errdefs.IsNotFound(err) {
			s.cfg.Log.Debug("a part of an image could not be dropped", "blob", blob.Digest, "err", err)
		}
	}
}

// online does a step that talks to registries, and gives it up when none of them sends anything for too long.
func (r *registry) online(ctx context.Context, state State, step string, do func(context.Context, remotes.Resolver) error) error {
	ctx, alive, stop := watchStall(log.WithLogger(ctx, silent), r.f.policy.StallTimeout)
	defer stop()
	resolver, err := newResolver(ctx, r.f.policy, &r.s.pauses, alive)
	if err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	err = r.s.step(ctx, r.f, state, step, func(ctx context.Context) error { return do(ctx, resolver) })
	if err != nil {
		return heardError{err}
	}
	return nil
}

// silent is a logger of containerd's that says nothing. What it would say holds whole URLs; the errors say the same without.
var silent = logrus.NewEntry(&logrus.Logger{Out: io.Discard, Formatter: &logrus.TextFormatter{}, Level: logrus.PanicLevel})

// baseName is an image's name without the digest that pinName added.
func baseName(name string) string {
	base, _, _ := strings.Cut(name, "@")
	return base
}
