package door

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sizes of blocks in bytes.
const (
	smallSize = 4 << 10   // for what carries little
	blockSize = 64 << 10  // for streams
	batchSize = 256 << 10 // for pipes, in one call
)

var pools = map[int]*sync.Pool{smallSize: poolOf(smallSize), blockSize: poolOf(blockSize), batchSize: poolOf(batchSize)}

func poolOf(size int) *sync.Pool {
	return &sync.Pool{New: func() any { return &block{data: make([]byte, size)} }}
}

// block is room for bytes on their way. There are some from from to to.
type block struct {
	data     []byte
	from, to int
}

// newBlock returns one of a size.
func newBlock(size int) *block { return pools[size].Get().(*block) }

// free gives a block back. There may be none.
func (b *block) free() {
	if b != nil {
		b.from, b.to = 0, 0
		pools[len(b.data)].Put(b)
	}
}

func (b *block) bytes() []byte { return b.data[b.from:b.to] }

// readBlock waits until there is something to read and reads it into a block of so many bytes, which is kept while it waits only for what
// blocks. At most most bytes are read. The end is io.EOF.
func readBlock(raw syscall.RawConn, size, most int) (b *block, err error) {
	var n int
	waiting := raw.Read(func(fd uintptr) bool {
		b = newBlock(size)
		n, err = unix.Read(int(fd), b.data[:most])
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Read(int(fd), b.data[:most])
		}
		if n > 0 {
			b.to = n
			return true
		}
		b.free()
		b = nil
		return !errors.Is(err, unix.EAGAIN)
	})
	switch {
	case b != nil:
		return b, nil
	case waiting != nil:
		return nil, waiting
	case err != nil:
		return nil, err
	}
	return nil, io.EOF
}

// source is a pipe that is read, with much room for bytes only while there are many.
type source struct {
	raw   syscall.RawConn
	block *block
	size  int // of the next block
}

// fill waits for a byte, if there is none.
func (s *source) fill() (err error) {
	if s.block != nil {
		return nil
	}
	if s.block, err = readBlock(s.raw, s.size, s.size); err != nil {
		return err
	}
	s.size = smallSize
	if s.block.to >= smallSize {
		s.size = batchSize
	}
	return nil
}

// next returns some of the next bytes, at least one and at most so many. They are valid until the next call.
func (s *source) next(most int) ([]byte, error) {
	if s.block != nil && s.block.from == s.block.to {
		s.block.free()
		s.block = nil
	}
	if err := s.fill(); err != nil {
		return nil, err
	}
	got := s.block.bytes()
	got = got[:min(len(got), most)]
	s.block.from += len(got)
	return got, nil
}

// read fills b.
func (s *source) read(b []byte) error {
	for len(b) > 0 {
		got, err := s.next(len(b))
		if err != nil {
			return err
		}
		b = b[copy(b, got):]
	}
	return nil
}
