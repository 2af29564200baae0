package door

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"syscall"
)

// Read reads what came. What came before the end can be read after it.
func (st *Stream) Read(p []byte) (int, error) {
	st.reading.Lock()
	defer st.reading.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if err := st.awaitKept(); err != nil {
		return 0, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.kept) == 0 { // it was closed meanwhile
		return 0, st.ended
	}
	first := st.kept[0]
	n := copy(p, first.bytes())
	first.from += n
	if first.from == first.to {
		first.free()
		st.kept = st.kept[1:]
	}
	st.takenLocked(n)
	return n, nil
}

// WriteTo writes what comes to w, until the end of the stream.
func (st *Stream) WriteTo(w io.Writer) (total int64, err error) {
	st.reading.Lock()
	defer st.reading.Unlock()
	for {
		if err := st.awaitKept(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return total, err
		}
		st.mu.Lock()
		if len(st.kept) == 0 {
			st.mu.Unlock()
			continue // it was closed meanwhile
		}
		first := st.kept[0]
		st.kept = st.kept[1:]
		st.mu.Unlock()
		n, err := w.Write(first.bytes())
		total += int64(n)
		size := len(first.bytes())
		first.free()
		if err != nil {
			return total, err
		}
		st.mu.Lock()
		st.takenLocked(size)
		st.mu.Unlock()
	}
}

// awaitKept waits until there is something to read. It returns why there will not be.
func (st *Stream) awaitKept() error {
	for {
		limit := st.readLimit.wait()
		if isClosed(limit) {
			return os.ErrDeadlineExceeded
		}
		st.mu.Lock()
		there, ended := len(st.kept) > 0, st.ended
		st.mu.Unlock()
		switch {
		case there:
			return nil
		case ended != nil:
			return ended
		}
		select {
		case <-st.readable:
		case <-limit:
		}
	}
}

// takenLocked lets as much come as was taken, once that is much. One that the peer keeps filled gets a larger window.
func (st *Stream) takenLocked(n int) {
	st.owed += n
	if st.finished || st.ended != nil || st.owed < st.window/4 {
		return
	}
	more := st.owed
	if st.allowed < st.window/2 && 2*st.window <= maxWindow && st.session.grow(st.window) {
		more += st.window
		st.window *= 2
	}
	st.allowed += more
	st.owed = 0
	st.session.outbox.push(st.head(frameGrant), binary.BigEndian.AppendUint32(nil, uint32(more))) //nolint:gosec // bounded by maxWindow
}

// Write returns once all of p is on its way.
func (st *Stream) Write(p []byte) (written int, err error) {
	st.writing.Lock()
	defer st.writing.Unlock()
	for {
		n, err := st.write(p)
		written += n
		p = p[n:]
		if err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// write sends as much of p as may be sent now, when that is something.
func (st *Stream) write(p []byte) (int, error) {
	limit := st.writeLimit.wait()
	if isClosed(limit) {
		return 0, os.ErrDeadlineExceeded
	}
	if err := st.awaitCredit(len(p), limit); err != nil {
		return 0, err
	}
	o := st.session.outbox
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-st.silent:
		return 0, st.whyShut()
	case <-limit:
		return 0, os.ErrDeadlineExceeded
	}
	for {
		st.mu.Lock()
		n, err := 0, st.shut
		if err == nil && len(p) > 0 {
			n = o.data(st.head(frameData), p[:min(len(p), st.credit)])
			st.credit -= n
		}
		st.mu.Unlock()
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-o.room:
		case <-st.silent:
		case <-limit:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (st *Stream) whyShut() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.shut
}

// awaitCredit waits until some of so many bytes may be sent.
func (st *Stream) awaitCredit(size int, limit <-chan struct{}) error {
	for {
		st.mu.Lock()
		credit, err := st.credit, st.shut
		if err == nil && !st.answered {
			err = errOrder
		}
		st.mu.Unlock()
		if err != nil || credit > 0 || size == 0 {
			return err
		}
		select {
		case <-st.writable:
		case <-limit:
			return os.ErrDeadlineExceeded
		}
	}
}

// Meter is told of what was read from it by its descriptor, before that is written; an error ends the reading.
type Meter interface{ Took(n int) error }

// ReadFrom writes what comes from r, until its end. It has no room in memory for an r that is a file or a socket and has nothing to read; such
// an r may be a Meter.
func (st *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	took := func(int) error { return nil }
	read := func() (*block, error) {
		b := newBlock(blockSize)
		b.to, err = r.Read(b.data[:maxData])
		return b, err
	}
	if file, ok := r.(syscall.Conn); ok {
		raw, err := file.SyscallConn()
		if err != nil {
			return 0, err
		}
		read = func() (*block, error) { return readBlock(raw, blockSize, maxData) }
		if meter, ok := r.(Meter); ok {
			took = meter.Took
		}
	}
	for {
		b, err := read()
		if b != nil {
			failed := took(len(b.bytes()))
			n := 0
			if failed == nil {
				n, failed = st.Write(b.bytes())
			}
			b.free()
			total += int64(n)
			if failed != nil {
				return total, failed
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
