package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	ocidigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"sandpool/runtime/call"
)

const (
	// ownLabel marks an image of containerd's as this engine's, to be pruned when it is not used. Its value is the digest that the
	// engine gave the name: who gives it another one takes the image over.
	ownLabel = "sandpool.image"
	// usedLabel says when it was last seen in use, RFC 3339.
	usedLabel = "sandpool.image.used"
	// imageLease begins the names of the leases that hold the images of templates.
	imageLease = "sandpool-image-"
)

func ownLabels(d ocidigest.Digest) map[string]string {
	return map[string]string{ownLabel: d.String(), usedLabel: time.Now().UTC().Format(time.RFC3339)}
}

// owns tells whether an image is the engine's to change and delete.
func owns(i images.Image) bool { return i.Labels[ownLabel] == i.Target.Digest.String() }

// pinName is the name that stands for one image for ever, whatever becomes of the name without the digest.
func pinName(name string, d ocidigest.Digest) string { return baseName(name) + "@" + d.String() }

// pin gives a found image its pinned name and a lease, so that nobody who removes or moves its name takes it away from pools.
func (s *Store) pin(ctx context.Context, f *fetch, found images.Image) (client.Image, error) {
	pinned := images.Image{Name: pinName(found.Name, found.Target.Digest), Target: found.Target, Labels: ownLabels(found.Target.Digest)}
	if f.archive != "" {
		pinned.Labels[archiveLabel] = f.archive
	}
	if err := s.putImage(ctx, pinned); err != nil {
		return nil, fmt.Errorf("pin: %w", err)
	}
	if err := s.leaseImage(ctx, pinned.Target.Digest); err != nil {
		return nil, err
	}
	return client.NewImage(s.cfg.Client, pinned), nil
}

// putImage makes or changes an image. Labels that it does not name stay.
func (s *Store) putImage(ctx context.Context, i images.Image) error {
	service := s.cfg.Client.ImageService()
	_, err := service.Create(ctx, i)
	if errdefs.IsAlreadyExists(err) {
		paths := []string{"target"}
		for key := range i.Labels {
			paths = append(paths, "labels."+key)
		}
		_, err = service.Update(ctx, i, paths...)
	}
	if err != nil {
		return fmt.Errorf("record image %s: %w", i.Name, call.Native(err))
	}
	return nil
}

// nameImage lets a name stand for what was fetched, unless somebody else gave the name to something.
func (s *Store) nameImage(ctx context.Context, name string, target ocispec.Descriptor) error {
	now, err := s.cfg.Client.ImageService().Get(ctx, name)
	switch {
	case err != nil && !errdefs.IsNotFound(err):
		return fmt.Errorf("get image %q: %w", name, call.Native(err))
	case err == nil && !owns(now):
		return nil
	}
	return s.putImage(ctx, images.Image{Name: name, Target: target, Labels: ownLabels(target.Digest)})
}

func imageLeaseID(d ocidigest.Digest) string { return imageLease + d.Encoded()[:16] }

// withImageLease lets the lease of an image hold what is made.
func withImageLease(ctx context.Context, d ocidigest.Digest) context.Context {
	return leases.WithLease(ctx, imageLeaseID(d))
}

// leaseImage makes the lease of an image, which holds its content from now on. Prune ends it.
func (s *Store) leaseImage(ctx context.Context, d ocidigest.Digest) error {
	manager := s.cfg.Client.LeasesService()
	lease, err := manager.Create(ctx, leases.WithID(imageLeaseID(d)), leases.WithLabels(map[string]string{ownLabel: d.String()}))
	if errdefs.IsAlreadyExists(err) {
		lease, err = leases.Lease{ID: imageLeaseID(d)}, nil
	}
	if err == nil {
		err = manager.AddResource(ctx, lease, leases.Resource{ID: d.String(), Type: "content"})
	}
	if err != nil {
		return fmt.Errorf("lease image %s: %w", d, call.Native(err))
	}
	return nil
}

// leaseSnapshot adds the uppermost snapshot of an image, and so those below it, to the image's lease.
func (s *Store) leaseSnapshot(ctx context.Context, image client.Image) error {
	diffs, err := image.RootFS(ctx)
	if err != nil {
		return fmt.Errorf("read layers: %w", err)
	}
	if len(diffs) == 0 { // without layers there is no snapshot either
		return nil
	}
	lease := leases.Lease{ID: imageLeaseID(image.Target().Digest)}
	top := leases.Resource{ID: identity.ChainID(diffs).String(), Type: "snapshots/" + s.cfg.Snapshotter}
	if err := s.cfg.Client.LeasesService().AddResource(ctx, lease, top); err != nil {
		return fmt.Errorf("lease snapshot: %w", err)
	}
	return nil
}

// Pinned returns the image that a checkpoint was made with, wherever its name has moved since.
func (s *Store) Pinned(ctx context.Context, name, digest string) (client.Image, error) {
	image, err := s.cfg.Client.GetImage(ctx, baseName(name)+"@"+digest)
	if errdefs.IsNotFound(err) {
		image, err = s.cfg.Client.GetImage(ctx, baseName(name))
	}
	if err != nil {
		return nil, fmt.Errorf("get image %q: %w", name, call.Native(err))
	}
	if err := image.Unpack(ctx, s.cfg.Snapshotter); err != nil {
		return nil, fmt.Errorf("unpack image %q: %w", name, call.Native(err))
	}
	return image, nil
}

// Prune ends the leases of images that nothing uses any more, and deletes those that this engine fetched and that
// nothing used for long enough. What containers use and what is being fetched it knows itself, but for templates that isTemplate does not
// know; inUse tells of the rest, by the digest.
func (s *Store) Prune(ctx context.Context, isTemplate, inUse func(string) bool) error {
	s.book.forget(isTemplate)
	used := func(digest string) bool { return s.book.held(digest) || inUse(digest) }
	return s.cfg.Calls.Do(ctx, s.cfg.PruneTimeout, call.Op{Verb: "prune", Object: "images"}, func(ctx context.Context) error {
		s.book.pruning.Lock()
		defer s.book.pruning.Unlock()
		return errors.Join(s.pruneLeases(ctx, used), s.pruneRecords(ctx, used))
	})
}

func (s *Store) pruneLeases(ctx context.Context, used func(digest string) bool) error {
	manager := s.cfg.Client.LeasesService()
	all, err := manager.List(ctx)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for _, l := range all {
		if !strings.HasPrefix(l.ID, imageLease) || used(l.Labels[ownLabel]) {
			continue
		}
		if err := manager.Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("delete lease %s: %w", l.ID, err)
		}
	}
	return nil
}

func (s *Store) pruneRecords(ctx context.Context, used func(digest string) bool) error {
	service := s.cfg.Client.ImageService()
	all, err := service.List(ctx)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	containers, err := s.cfg.Client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	byName, held := map[string]string{}, map[string]bool{}
	for _, i := range all {
		byName[i.Name] = i.Target.Digest.String()
	}
	for _, c := range containers {
		held[byName[c.Image]] = true
	}
	keep := s.current().KeepUnused
	for _, i := range all {
		d := i.Target.Digest.String()
		switch {
		case !owns(i):
		case held[d] || used(d):
			err = s.putImage(ctx, images.Image{Name: i.Name, Target: i.Target, Labels: ownLabels(i.Target.Digest)})
		case unusedFor(i) >= keep:
			s.cfg.Log.Info("unused image is deleted", "image", i.Name, "digest", d)
			err = service.Delete(ctx, i.Name, images.SynchronousDelete())
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("image %s: %w", i.Name, err)
		}
	}
	return nil
}

// unusedFor is how long ago an image was seen in use. One that does not say was not for long enough.
func unusedFor(i images.Image) time.Duration {
	at, _ := time.Parse(time.RFC3339, i.Labels[usedLabel])
	return time.Since(at)
}
