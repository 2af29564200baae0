package image

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	imagearchive "github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	ociplatforms "github.com/containerd/platforms"
	ocidigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"sandpool/runtime/call"
)

// archiveLabel is on an image's pinned record: a hash of the archive file that the image was imported from.
const archiveLabel = "sandpool.image.archive"

// archive is the source of an image that is a file.
type archive struct {
	s    *Store
	f    *fetch
	path string
}

// find returns the image that was imported from the file as it is now.
func (a *archive) find(ctx context.Context) (images.Image, error) {
	id, _, err := fileID(a.path)
	if err != nil {
		return images.Image{}, fmt.Errorf("import: open image archive: %w", a.s.cfg.Unseen(ctx, err))
	}
	a.s.book.pruning.RLock()
	defer a.s.book.pruning.RUnlock()
	list, err := a.s.cfg.Client.ImageService().List(ctx, fmt.Sprintf("labels.%q==%s", archiveLabel, id))
	if err != nil {
		return images.Image{}, fmt.Errorf("list images: %w", call.Native(err))
	}
	if len(list) == 0 {
		return images.Image{}, &missingError{"it was not imported yet"}
	}
	a.s.book.hold(a.f, list[0].Target.Digest)
	list[0].Name = baseName(list[0].Name)
	return list[0], nil
}

// fileID returns a hash that a file keeps until it is changed or replaced, and the file's size.
func fileID(path string) (string, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, err
	}
	if !info.Mode().IsRegular() {
		return "", 0, fmt.Errorf("%s is not a regular file", path)
	}
	text := fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
	if s, ok := info.Sys().(*syscall.Stat_t); ok { // a change that keeps the time still moves these
		text += fmt.Sprintf(" %d %d %d", s.Dev, s.Ino, s.Ctim.Nano())
	}
	return ocidigest.FromString(text).Encoded(), info.Size(), nil
}

func (a *archive) fetch(ctx context.Context, _ error) (found images.Image, err error) {
	err = a.s.step(ctx, a.f, Importing, "import", func(ctx context.Context) error {
		if found, err = a.read(ctx); err != nil {
			return fmt.Errorf("archive %s: %w", a.path, err)
		}
		return nil
	})
	return found, err
}

// read imports the file. Only an image that is whole gets its name.
func (a *archive) read(ctx context.Context) (images.Image, error) {
	id, size, err := fileID(a.path)
	if err != nil {
		return images.Image{}, err
	}
	a.s.book.reads(a.f, size)
	f, err := os.Open(a.path)
	if err != nil {
		return images.Image{}, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	ctx, done, err := a.s.cfg.Client.WithLease(ctx)
	if err != nil {
		return images.Image{}, fmt.Errorf("lease: %w", err)
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }() // it expires, too
	index, err := a.load(ctx, f, id)
	if err != nil {
		return images.Image{}, err
	}
	found, names, err := a.named(ctx, index)
	if err != nil {
		return images.Image{}, err
	}
	a.s.book.hold(a.f, found.Target.Digest)
	a.f.archive = id
	if err := a.s.leaseImage(ctx, found.Target.Digest); err != nil {
		return images.Image{}, err
	}
	for _, name := range names {
		if err := a.s.nameImage(ctx, name, found.Target); err != nil {
			return images.Image{}, err
		}
	}
	return found, nil
}

// load gives containerd what a file holds, and returns the index of that. The file is read to its end, where checksums are.
func (a *archive) load(ctx context.Context, f io.Reader, id string) (index ocispec.Descriptor, err error) {
	content, done, err := decompress(&countedReader{ctx, f, &a.f.read})
	if err != nil {
		return index, whyUnread(err)
	}
	defer done()
	content = &boundedReader{from: content, max: a.f.policy.MaxUnpacked, room: func(size int64) error { return a.s.room(ctx, a.f.policy, size) }}
	store := &importStore{Store: a.s.cfg.Client.ContentStore(), prefix: id + "-"}
	if index, err = imagearchive.ImportIndex(ctx, store, content); err == nil {
		_, err = io.Copy(io.Discard, content)
	}
	if err != nil {
		store.abandon(ctx)
		return index, whyUnread(err)
	}
	return index, nil
}

// named returns the one image of an imported archive, if it is for this host and whole, and all names that the archive gives it.
func (a *archive) named(ctx context.Context, index ocispec.Descriptor) (_ images.Image, names []string, _ error) {
	store := a.s.cfg.Client.ContentStore()
	var top ocispec.Index
	data, err := content.ReadBlob(ctx, store, index)
	if err == nil {
		err = json.Unmarshal(data, &top)
	}
	if err != nil {
		return images.Image{}, nil, fmt.Errorf("read its index: %w", err)
	}
	target, names, err := onlyImage(top.Manifests)
	if err != nil {
		return images.Image{}, nil, err
	}
	// Blobs are stored under the digest of what they hold, so one that was changed is as good as missing.
	if err := a.s.whole(ctx, target); err != nil {
		return images.Image{}, nil, err
	}
	children := images.FilterPlatforms(images.ChildrenHandler(store), ociplatforms.Default())
	return images.Image{Name: names[0], Target: target}, names, images.WalkNotEmpty(ctx, images.SetChildrenLabels(store, children), target)
}

// onlyImage returns the one image of an archive's index, and its names: as it is named there, or by its digest. Those without a name count
// only if none has one.
func onlyImage(entries []ocispec.Descriptor) (target ocispec.Descriptor, names []string, _ error) {
	byDigest := map[ocidigest.Digest]ocispec.Descriptor{}
	for _, m := range entries {
		name := cmp.Or(m.Annotations[images.AnnotationImageName], m.Annotations[ocispec.AnnotationRefName])
		if name != "" && len(names) == 0 {
			clear(byDigest)
		}
		if name != "" {
			names = append(names, name)
		}
		if name != "" || len(names) == 0 {
			target = m
			byDigest[m.Digest] = m
		}
	}
	switch {
	case len(byDigest) == 0:
		return target, nil, errdefs.ErrFailedPrecondition.WithMessage("it holds no image: make it with `docker save NAME`")
	case len(byDigest) > 1:
		listed := ""
		if len(names) > 0 {
			listed = ", " + strings.Join(names, ", ")
		}
		return target, nil, errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("it holds %d images%s: save one alone, as by `docker save NAME`", len(byDigest), listed))
	case len(names) == 0:
		names = []string{localDomain + "/unnamed:" + target.Digest.Encoded()[:12]}
	}
	return target, names, nil
}

// countedReader counts what is read, until ctx ends. It does not seek, so that all of the file passes by.
type countedReader struct {
	ctx  context.Context //nolint:containedctx // reading a file knows no other way to be given up
	from io.Reader
	read *atomic.Int64
}

func (r *countedReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	r.read.Add(int64(n))
	return n, err
}
