package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ociplatforms "github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	entrySize = 4 << 10 // bytes that a file takes beside its content, about
	roomStep  = 8 << 20 // bytes after which the free disk is looked at again
	mib       = 1 << 20
)

// tooLarge says that an image is over images.max_unpacked_mib.
func tooLarge(limit int64) error {
	return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("it unpacks to more than %d MiB: raise images.max_unpacked_mib if it is right", limit/mib))
}

// room says that size more bytes on the disk would leave less than is kept free there, or nothing.
func (s *Store) room(ctx context.Context, p Policy, size int64) error {
	left, err := s.cfg.Free(ctx)
	if err != nil {
		return err
	}
	if want := uint64(size) + uint64(p.KeepFree); left < want { //nolint:gosec // neither is negative
		return errdefs.ErrResourceExhausted.WithMessage(fmt.Sprintf("it needs %d MiB of disk, and of the %d MiB that are left %d MiB are kept free (reserves.disk_mib)",
			size/mib, left/mib, p.KeepFree/mib))
	}
	return nil
}

// boundedReader passes on no more than an image may take, and none once the disk is short.
type boundedReader struct {
	from io.Reader
	max  int64                  // 0: any number
	room func(size int64) error // that more may be written

	read, looked int64
}

func (r *boundedReader) Read(p []byte) (int, error) {
	if r.read >= r.looked {
		if err := r.room(roomStep); err != nil {
			return 0, err
		}
		r.looked += roomStep
	}
	n, err := r.from.Read(p)
	if r.read += int64(n); r.max > 0 && r.read > r.max {
		return 0, tooLarge(r.max)
	}
	return n, err
}

// fits finds out what an image unpacks to, before anything is written: from the headers of its layers, as files with holes take more than their
// archive.
func (s *Store) fits(ctx context.Context, p Policy, image client.Image) error {
	manifest, err := images.Manifest(ctx, image.ContentStore(), image.Target(), ociplatforms.Default())
	if err != nil || len(manifest.Layers) == 0 {
		return err
	}
	if there, err := image.IsUnpacked(ctx, s.cfg.Snapshotter); there || err != nil {
		return err
	}
	var size int64
	for _, layer := range manifest.Layers {
		if !images.IsLayerType(layer.MediaType) {
			continue
		}
		if size, err = addLayer(ctx, image.ContentStore(), layer, size, p.MaxUnpacked); err != nil {
			return fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
	return s.room(ctx, p, size)
}

// addLayer returns size and what a layer unpacks to, or an error once that is over the limit.
func addLayer(ctx context.Context, store content.Provider, layer ocispec.Descriptor, size, limit int64) (int64, error) {
	blob, err := store.ReaderAt(ctx, layer)
	if err != nil {
		return 0, err
	}
	defer func() { _ = blob.Close() }()
	files, done, err := decompress(bufio.NewReaderSize(content.NewReader(blob), mib))
	if err != nil {
		return 0, err
	}
	defer done()
	for archive := tar.NewReader(files); ; {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return 0, err
		}
		if size += entrySize; entry.Typeflag == tar.TypeReg || entry.Typeflag == tar.TypeGNUSparse {
			size += entry.Size
		}
		if size < 0 || limit > 0 && size > limit {
			return 0, tooLarge(limit)
		}
	}
}
