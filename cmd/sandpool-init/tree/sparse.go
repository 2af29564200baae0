package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// leastSparse is the size in bytes from which on holes are looked for.
	leastSparse = 1 << 20
	// holeSize is the least size in bytes of a hole that is looked for in a file's content.
	holeSize = 64 << 10
	// maxExtents bounds the map of a file's data. A file of more parts is packed as a whole.
	maxExtents = 16 << 10
)

// extent is a part of a file that is no hole.
type extent struct{ offset, length int64 }

var zeros [copyBuffer]byte

// extents returns where a file has its data, or nil for one without holes.
func extents(file *os.File, size int64) ([]extent, error) {
	if size < leastSparse {
		return nil, nil
	}
	found, err := soughtExtents(file, size)
	if errors.Is(err, unix.EINVAL) { // gVisor's files in memory do not tell
		found, err = scannedExtents(file, size)
	}
	if err != nil || len(found) > maxExtents || len(found) == 1 && found[0] == (extent{0, size}) {
		return nil, err
	}
	if len(found) == 0 || found[len(found)-1].offset+found[len(found)-1].length < size {
		found = append(found, extent{size, 0}) // as other tars end the map of a file that ends with a hole
	}
	return found, nil
}

// soughtExtents asks the file system.
func soughtExtents(file *os.File, size int64) (found []extent, err error) {
	for at := int64(0); at < size && len(found) <= maxExtents; {
		data, err := unix.Seek(int(file.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // no more data
		}
		if err != nil {
			return nil, fmt.Errorf("look for data: %w", err)
		}
		hole, err := unix.Seek(int(file.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("look for a hole: %w", err)
		}
		if data < size {
			found = append(found, extent{data, min(hole, size) - data})
		}
		at = hole
	}
	return found, nil
}

// scannedExtents takes parts that are all zero for holes.
func scannedExtents(file *os.File, size int64) (found []extent, err error) {
	buf := make([]byte, holeSize)
	for at := int64(0); at < size && len(found) <= maxExtents; at += holeSize {
		part := buf[:min(holeSize, size-at)]
		if _, err := file.ReadAt(part, at); err != nil {
			return nil, shrunk(err)
		}
		switch last := len(found) - 1; {
		case bytes.Equal(part, zeros[:len(part)]):
		case last >= 0 && found[last].offset+found[last].length == at:
			found[last].length += int64(len(part))
		default:
			found = append(found, extent{at, int64(len(part))})
		}
	}
	return found, nil
}

// shrunk says of a file that ends too early what happened.
func shrunk(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("it became shorter while it was read: %w", unix.ESTALE)
	}
	return err
}

// sparseMap is what stands before a sparse file's data: how many parts there are, and where.
func sparseMap(parts []extent) []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "%d\n", len(parts))
	for _, p := range parts {
		fmt.Fprintf(&text, "%d\n%d\n", p.offset, p.length)
	}
	return append([]byte(text.String()), make([]byte, padding(int64(text.Len())))...)
}

// WriteHoles copies to a new file, in which what is zero becomes holes. It returns how many bytes there were.
func WriteHoles(file *os.File, from io.Reader, at int64) (n int64, err error) {
	const page = 4096
	buf := make([]byte, copyBuffer)
	begin := at
	for {
		got, err := io.ReadFull(from, buf)
		for part := buf[:got]; len(part) > 0; {
			piece := part[:min(len(part), page)]
			part = part[len(piece):]
			zero := isZero(piece)
			for len(part) >= page && isZero(part[:page]) == zero { // as much as is alike goes at once
				piece, part = piece[:len(piece)+page], part[page:]
			}
			if !zero {
				if _, err := file.WriteAt(piece, at); err != nil {
					return at - begin, err
				}
			}
			at += int64(len(piece))
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return at - begin, file.Truncate(at)
		}
		if err != nil {
			return at - begin, err
		}
	}
}

func isZero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }
