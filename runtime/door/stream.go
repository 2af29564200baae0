package door

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"sandpool/runtime/supervisor/protocol"
)

// Stream is a connection that is carried, a net.Conn. Whoever has one must close it.
type Stream struct {
	session *Session
	id      uint32
	own     bool // we opened it
	ask     Ask
	answer  chan answer // if it is our own

	reading, writing      sync.Mutex    // one each at a time
	readable, writable    chan struct{} // something changed
	silent                chan struct{} // closed when nothing may be written
	readLimit, writeLimit deadline

	mu       sync.Mutex
	answered bool
	closed   bool     // here
	finished bool     // the peer has forgotten it
	ended    error    // why no more comes
	shut     error    // why nothing may be written
	kept     []*block // that came and were not taken
	window   int      // most bytes under way
	allowed  int      // of which still may come
	owed     int      // of which were taken and not granted anew
	credit   int      // bytes that may be written
}

// answer is what the peer says to an Open.
type answer struct {
	words []string
	err   error
}

var (
	errAnswered = errors.New("it has been answered")
	errShut     = fmt.Errorf("write after CloseWrite: %w", net.ErrClosed)
)

func newStream(s *Session, id uint32, own bool) *Stream {
	return &Stream{
		session: s, id: id, own: own, window: s.options.Window,
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), silent: make(chan struct{}),
	}
}

func (st *Stream) head(k frame) head { return head{kind: k, own: st.own, stream: st.id} }

// Ask returns what the stream is for.
func (st *Stream) Ask() Ask { return st.ask }

// Accept accepts a stream that the peer opened.
func (st *Stream) Accept(words ...string) error {
	message := protocol.Words(words)
	if len(message) > MaxAsk {
		return fmt.Errorf("an answer of %d bytes: the limit is %d", len(message), MaxAsk)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.shut != nil:
		return st.shut
	case st.own || st.answered:
		return errAnswered
	}
	st.answered, st.allowed = true, st.window
	st.session.outbox.push(st.head(frameAccept), binary.BigEndian.AppendUint32(nil, uint32(st.window)), message) //nolint:gosec // bounded by maxWindow
	return nil
}

// Refuse refuses a stream that the peer opened, and closes it.
func (st *Stream) Refuse(r Refusal) error {
	st.mu.Lock()
	refusable, err := !st.own && !st.answered, st.shut
	st.answered = true
	st.mu.Unlock()
	switch {
	case err != nil:
		return err
	case !refusable:
		return errAnswered
	}
	st.leave(frameRefuse, r.encode())
	return nil
}

// Close closes the stream. The peer gets what was written.
func (st *Stream) Close() error {
	st.mu.Lock()
	closed, unanswered := st.closed, !st.own && !st.answered
	st.mu.Unlock()
	switch {
	case closed:
		return net.ErrClosed
	case unanswered:
		return st.Refuse(Refusal{Failed, "it was not answered"})
	}
	st.leave(frameClose, nil)
	return nil
}

// Reset closes the stream and has the peer know that it did not end well.
func (st *Stream) Reset() { st.leave(frameReset, nil) }

// leave closes the stream here with a last frame, unless the peer has closed it.
func (st *Stream) leave(k frame, message []byte) {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return
	}
	st.closed = true
	if !st.finished {
		st.session.outbox.push(st.head(k), message)
	}
	st.finishLocked(net.ErrClosed)
	for _, b := range st.kept {
		b.free()
	}
	st.kept = nil
	grown := st.window - st.session.options.Window
	st.mu.Unlock()
	st.session.forget(st)
	st.session.leave(st, grown)
}

// CloseWrite says that nothing more is written. What the peer writes is read still.
func (st *Stream) CloseWrite() error {
	st.mu.Lock()
	if st.shut != nil || !st.answered {
		defer st.mu.Unlock()
		if errors.Is(st.shut, errShut) {
			return nil
		}
		return st.shut
	}
	st.shutLocked(errShut)
	st.session.outbox.push(st.head(frameEnd))
	over := st.ended != nil
	st.finished = st.finished || over
	st.mu.Unlock()
	if over {
		st.session.forget(st)
	}
	return nil
}

// finish notes that nothing goes to or comes from the peer any more, unless that is known. What came can be read.
func (st *Stream) finish(why error) {
	st.mu.Lock()
	if !st.finished {
		st.finishLocked(why)
	}
	st.mu.Unlock()
	st.session.forget(st)
}

func (st *Stream) finishLocked(why error) {
	st.finished = true
	st.endLocked(why)
	st.shutLocked(why)
	if st.own && !st.answered {
		st.answered = true
		st.answer <- answer{err: why}
	}
}

// endLocked notes that no more comes. An end that has come stays one, but for who closes the stream.
func (st *Stream) endLocked(why error) {
	if st.ended == nil || st.closed {
		st.ended = why
	}
	poke(st.readable)
}

// shutLocked notes that nothing more may be written.
func (st *Stream) shutLocked(why error) {
	if st.shut == nil {
		close(st.silent)
	}
	st.shut = why
	poke(st.writable)
}

// Silent is closed once nothing can be written: after CloseWrite, or since the peer reads no more. Write tells which.
func (st *Stream) Silent() <-chan struct{} { return st.silent }

// LocalAddr returns a name of this end, which has no address.
func (st *Stream) LocalAddr() net.Addr { return addr{} }

// RemoteAddr returns a name of the other end, which has no address.
func (st *Stream) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "door" }
func (addr) String() string  { return "door" }

// SetDeadline sets the moments by which reads and writes must be done.
func (st *Stream) SetDeadline(t time.Time) error {
	return errors.Join(st.SetReadDeadline(t), st.SetWriteDeadline(t))
}

// SetReadDeadline sets the moment by which reads must be done.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.readLimit.set(t)
	return nil
}

// SetWriteDeadline sets the moment by which writes must be done.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	st.writeLimit.set(t)
	return nil
}
