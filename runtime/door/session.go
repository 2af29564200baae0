package door

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// Session is a conversation over a pair of pipes. All methods may be called at once.
type Session struct {
	in, out *os.File
	options Options
	source  source
	outbox  *outbox
	accept  func(*Stream)
	work    sync.WaitGroup
	done    chan struct{}
	slots   chan struct{} // one for each stream of ours that has not been closed
	spare   atomic.Int64

	mu       sync.Mutex
	err      error
	streams  map[uint32]*Stream // ours
	peers    map[uint32]*Stream
	last     uint32 // that we opened
	peerLast uint32
	serving  int // streams of the peer that have not been closed
	refusing int // streams of the peer that are too many
}

// New begins a conversation over pipes, which the session owns from then on. Serve must be called. out must not block. in may: then Serve returns
// once the peer has closed its end. Process 1 has one that does, since gVisor wakes who waits in a read after a restore, and for what it took out of the
// pipe at a checkpoint, but nobody who waits for the pipe to become readable.
func New(in, out *os.File, o Options) *Session {
	for value, usual := range map[*int]int{&o.Streams: DefaultStreams, &o.Window: DefaultWindow, &o.Spare: DefaultSpare} {
		if *value == 0 {
			*value = usual
		}
	}
	s := &Session{
		in: in, out: out, options: o, outbox: newOutbox(), done: make(chan struct{}), slots: make(chan struct{}, o.Streams),
		streams: map[uint32]*Stream{}, peers: map[uint32]*Stream{},
	}
	s.spare.Store(int64(o.Spare))
	s.outbox.push(head{kind: frameHello}, []byte(version))
	return s
}

// Serve carries what there is to carry until the session ends. accept runs on a goroutine of its own for each stream that the peer opens, and
// accepts or refuses it; when it returns the stream is closed. Serve returns once all of them have. That either side ended the session is no error.
func (s *Session) Serve(accept func(*Stream)) error {
	s.accept = accept
	s.work.Go(func() {
		if err := s.outbox.run(s.out); err != nil {
			s.fail(fmt.Errorf("send: %w", err))
		}
	})
	s.fail(s.read())
	s.work.Wait()
	for _, quiet := range []error{io.EOF, os.ErrClosed, syscall.EPIPE} {
		if errors.Is(s.err, quiet) {
			return nil
		}
	}
	return s.err
}

// Close ends the session, and with it its streams. What has not been sent is lost.
func (s *Session) Close() { s.fail(os.ErrClosed) }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// fail ends the session for a reason.
func (s *Session) fail(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	var all []*Stream
	for _, streams := range []map[uint32]*Stream{s.streams, s.peers} {
		for _, st := range streams {
			all = append(all, st)
		}
		clear(streams)
	}
	s.mu.Unlock()
	close(s.done)
	s.outbox.end()
	_, _ = s.in.Close(), s.out.Close()
	for _, st := range all {
		st.finish(ErrLost)
	}
}

// read acts on frames until there are no more, or the peer breaks the rules. It waits for nothing but the peer.
func (s *Session) read() error {
	raw, err := s.in.SyscallConn()
	if err != nil {
		return err
	}
	s.source = source{raw: raw, size: smallSize}
	for greeted := false; ; greeted = true {
		var begin [headSize]byte
		if err := s.source.read(begin[:]); err != nil {
			return err
		}
		h := decodeHead(begin[:])
		err := h.check(s.options.Tables)
		switch {
		case err != nil:
		case greeted != (h.kind != frameHello):
			err = errors.New("the peer does not begin with its version, or says it twice")
		case h.kind == frameData:
			err = s.receive(h)
		default:
			message := make([]byte, h.size)
			if err = s.source.read(message); err == nil {
				err = s.act(h, message)
			}
		}
		if err != nil {
			return err
		}
	}
}

// find returns the stream of a frame, or nil if that has ended here.
func (s *Session) find(h head) (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams, last := s.peers, s.peerLast
	if h.own {
		streams, last = s.streams, s.last
	}
	if h.stream > last || h.stream == 0 {
		return nil, fmt.Errorf("a frame of kind %d for a stream that nobody opened", h.kind)
	}
	return streams[h.stream], nil
}

// receive takes data as it comes.
func (s *Session) receive(h head) error {
	st, err := s.find(h)
	if err == nil && st != nil {
		err = st.admit(h.size)
	}
	for left := h.size; left > 0 && err == nil; {
		var got []byte
		if got, err = s.source.next(left); err == nil {
			left -= len(got)
			if st != nil {
				st.deliver(got)
			}
		}
	}
	return err
}

// act acts on a frame that is no data.
func (s *Session) act(h head, message []byte) error {
	switch h.kind {
	case frameHello:
		if string(message) != version {
			return errors.New("the peer is of another release")
		}
		return nil
	case frameOpen:
		return s.opened(h, message)
	}
	st, err := s.find(h)
	if err != nil || st == nil {
		return err
	}
	switch h.kind {
	case frameAccept:
		return st.accepted(message)
	case frameRefuse:
		return st.refused(message)
	case frameGrant:
		more, _ := number(message)
		return st.granted(more)
	case frameReset:
		st.finish(ErrReset)
		return nil
	default:
		return st.peerEnds(h.kind == frameClose)
	}
}

// opened has a stream that the peer opens served, or refuses it if there are too many.
func (s *Session) opened(h head, message []byte) error {
	credit, words := number(message)
	ask, err := decodeAsk(words)
	if err != nil {
		return fmt.Errorf("what the peer asks for makes no sense: %w", err)
	}
	st := newStream(s, h.stream, false)
	st.ask, st.credit = ask, min(credit, maxCredit)
	welcome, err := s.enter(st, h)
	switch {
	case err != nil:
		return err
	case welcome:
		s.work.Go(func() {
			defer func() { _ = st.Close() }()
			s.accept(st)
		})
	default:
		s.outbox.push(st.head(frameRefuse), Refusal{Busy, "there are too many connections at once"}.encode())
		s.outbox.after(func() { s.count(&s.refusing) })
	}
	return nil
}

// enter gives a stream of the peer's a place, if there is one left.
func (s *Session) enter(st *Stream, h head) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case h.own || h.stream <= s.peerLast:
		return false, errors.New("the peer opens a stream twice")
	case s.serving < s.options.Streams:
		s.serving++
		s.peers[st.id] = st
	case s.refusing < s.options.Streams:
		s.refusing++
	default:
		return false, errors.New("the peer opens streams and does not hear that there are too many")
	}
	s.peerLast = h.stream
	return s.peers[st.id] != nil, s.err
}

func (s *Session) count(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n--
}

// Open asks the peer for a stream, and waits until there is a place for one and it has been answered: by words, or by an error that is a *Refusal. That
// the session ended first is ErrLost.
func (s *Session) Open(ctx context.Context, a Ask) (*Stream, []string, error) {
	most, message := MaxAsk, a.encode()
	if a.Kind == Table {
		most = MaxTable
	}
	if len(message) > most {
		return nil, nil, fmt.Errorf("to ask for it takes %d bytes: the limit is %d", len(message), most)
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.done:
		return nil, nil, ErrLost
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	st := s.open(a, message)
	select {
	case a := <-st.answer:
		if a.err != nil {
			_ = st.Close()
			return nil, nil, a.err
		}
		return st, a.words, nil
	case <-ctx.Done():
		st.Reset()
		return nil, nil, context.Cause(ctx)
	}
}

func (s *Session) open(a Ask, message []byte) *Stream {
	s.mu.Lock()
	s.last++
	st := newStream(s, s.last, true)
	st.ask, st.answer = a, make(chan answer, 1)
	lost := s.err != nil
	if !lost {
		s.streams[st.id] = st
		s.outbox.push(st.head(frameOpen), binary.BigEndian.AppendUint32(nil, uint32(st.window)), message) //nolint:gosec // bounded by maxWindow
	}
	s.mu.Unlock()
	if lost {
		st.finish(ErrLost)
	}
	return st
}

// forget drops what still comes for a stream.
func (s *Session) forget(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.own {
		delete(s.streams, st.id)
	} else {
		delete(s.peers, st.id)
	}
}

// leave gives back what a stream that was closed here held: its place, once what was to be sent for it is.
func (s *Session) leave(st *Stream, grown int) {
	s.spare.Add(int64(grown))
	s.outbox.after(func() {
		if st.own {
			<-s.slots
		} else {
			s.count(&s.serving)
		}
	})
}

// grow takes bytes from what windows may grow by, if there are so many.
func (s *Session) grow(by int) bool {
	if s.spare.Add(-int64(by)) >= 0 {
		return true
	}
	s.spare.Add(int64(by))
	return false
}
