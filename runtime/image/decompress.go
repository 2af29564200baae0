package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is how much of what was before a file compressed by zstd may refer to, in bytes. The decoder keeps it in memory; zstd itself
// takes no more either unless it is told to.
const maxWindow = 128 << 20

var (
	gzipMagic = []byte("\x1f\x8b")
	zstdMagic = []byte("\x28\xb5\x2f\xfd")
)

// otherMagics begin files of compressions that are known by name only.
var otherMagics = []struct{ begin, name string }{
	{"\xfd7zXZ\x00", "xz"}, {"BZh", "bzip2"}, {"\x04\x22\x4d\x18", "lz4"}, {"\x5d\x00\x00", "lzma"}, {"LZIP", "lzip"}, {"\x1f\x9d", "compress"}, {"PK\x03\x04", "zip"},
}

// decompress returns what a file holds: of one that is compressed by gzip or zstd, in any number of members, what it was made from. The
// standard decoders are used since containerd's may start a program of the host.
func decompress(file io.Reader) (_ io.Reader, done func(), _ error) {
	buffered := bufio.NewReader(file)
	begin, err := buffered.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(begin, gzipMagic):
		r, err := gzip.NewReader(buffered)
		return unpacked{r}, func() {}, err
	case isZstd(begin):
		r, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return unpacked{r}, r.Close, nil
	}
	for _, other := range otherMagics {
		if bytes.HasPrefix(begin, []byte(other.begin)) {
			return nil, nil, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("it is compressed by %s: unpack it, or compress it by gzip or zstd", other.name))
		}
	}
	return buffered, func() {}, nil
}

// unpacked has its errors say that it was being unpacked.
type unpacked struct{ io.Reader }

func (u unpacked) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("decompress: %w", err)
	}
	return n, err
}

// isZstd knows skippable frames too, which some programs put first.
func isZstd(begin []byte) bool {
	return bytes.HasPrefix(begin, zstdMagic) || len(begin) >= 4 && begin[0]&0xf0 == 0x50 && bytes.Equal(begin[1:4], []byte("\x2a\x4d\x18"))
}

// whyUnread says in words why an archive could not be read to its end.
func whyUnread(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it is cut off: %w", err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fmt.Errorf("it is compressed by zstd with a window of more than %d MiB: compress it without --long: %w", maxWindow>>20, err)
	case errors.Is(err, tar.ErrHeader), err.Error() == "unrecognized image format": // containerd's, of a tar archive of other files
		return fmt.Errorf("it is no archive of an image: make one with `docker save NAME`: %w", err)
	default:
		return err
	}
}
