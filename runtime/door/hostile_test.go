package door

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/runtime/supervisor/protocol"
)

// raw is a frame of a peer's, in its bytes. Those of streams that we opened have own.
func raw(kind frame, own bool, stream uint32, parts ...[]byte) []byte {
	var message []byte
	for _, p := range parts {
		message = append(message, p...)
	}
	return append(appendHead(nil, head{kind: kind, own: !own, stream: stream, size: len(message)}), message...)
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

var (
	hello = raw(frameHello, false, 0, []byte(version))
	proxy = Ask{Kind: Proxy}.encode()
)

// speak returns a session whose peer the test is: what it says, and what it hears.
func speak(t testing.TB, o Options, accept func(*Stream)) (s *Session, says, hears *os.File, ended <-chan error) {
	t.Helper()
	in, out, hears, says := pipes(t)
	s = New(in, out, o)
	end := make(chan error, 1)
	go func() { end <- s.Serve(accept) }()
	t.Cleanup(s.Close)
	return s, says, hears, end
}

// TestBreaches ends a session with a peer that breaks the rules.
func TestBreaches(t *testing.T) {
	first := raw(frameOpen, false, 1, u32(100), proxy)
	for name, test := range map[string]struct {
		said []byte
		want string
	}{
		"no hello":            {first, "does not begin with its version"},
		"two hellos":          {append(hello, hello...), "says it twice"},
		"another release":     {raw(frameHello, false, 0, []byte("door 9")), "another release"},
		"unknown kind":        {append(hello, raw(77, false, 1)...), "unknown kind 77"},
		"nobody's stream":     {append(hello, raw(frameEnd, false, 1)...), "nobody opened"},
		"our unopened stream": {append(hello, raw(frameData, true, 1, []byte("x"))...), "nobody opened"},
		"stream 0":            {append(hello, raw(frameOpen, false, 0, u32(1), proxy)...), "opens a stream twice"},
		"ours opened":         {append(hello, raw(frameOpen, true, 7, u32(1), proxy)...), "opens a stream twice"},
		"opened twice":        {append(append(hello, first...), first...), "opens a stream twice"},
		"data before accept":  {append(append(hello, first...), raw(frameData, false, 1, []byte("x"))...), "order"},
		"end before accept":   {append(append(hello, first...), raw(frameEnd, false, 1)...), "order"},
		"accepts its own":     {append(append(hello, first...), raw(frameAccept, false, 1, u32(1))...), "order"},
		"refuses its own":     {append(append(hello, first...), raw(frameRefuse, false, 1, Refusal{}.encode())...), "order"},
		"empty data":          {append(append(hello, first...), raw(frameData, false, 1)...), "with 0 bytes"},
		"too large":           {append(hello, appendHead(nil, head{kind: frameData, stream: 1, size: 1 << 31})...), "bytes"},
		"a table":             {append(hello, appendHead(nil, head{kind: frameOpen, stream: 1, size: 1 << 20})...), "bytes"},
		"no ask":              {append(hello, raw(frameOpen, false, 1, u32(1), []byte("\x00\x00\x00\x09x"))...), "makes no sense"},
		"huge grants":         {append(append(hello, first...), raw(frameGrant, false, 1, u32(1<<31))...), "more come"},
	} {
		t.Run(name, func(t *testing.T) {
			_, says, _, ended := speak(t, Options{}, func(st *Stream) { <-st.Silent() })
			if _, err := says.Write(test.said); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// TestEndsOfAPeer cuts a peer off in the middle of a frame: that is an end as any other.
func TestEndsOfAPeer(t *testing.T) {
	for _, said := range [][]byte{nil, hello[:3], hello, append(hello, 1, 2), append(hello, raw(frameOpen, false, 1, u32(1), proxy)[:12]...)} {
		_, says, _, ended := speak(t, Options{}, func(st *Stream) { <-st.Silent() })
		if _, err := says.Write(said); err != nil {
			t.Fatal(err)
		}
		_ = says.Close()
		if err := <-ended; err != nil {
			t.Errorf("after %d bytes: %v", len(said), err)
		}
	}
}

// TestLateFrames sends all kinds of frames for a stream that has ended here: they mean nothing.
func TestLateFrames(t *testing.T) {
	asked := make(chan Kind)
	_, says, hears, ended := speak(t, Options{}, func(st *Stream) { asked <- st.Ask().Kind })
	go func() { _, _ = io.Copy(io.Discard, hears) }()
	said := append(hello, raw(frameOpen, false, 0xfc000001, u32(1), proxy)...)
	said = append(said, raw(frameReset, false, 0xfc000001)...)
	for kind, message := range map[frame][]byte{frameData: []byte("x"), frameGrant: u32(9), frameEnd: nil, frameClose: nil, frameReset: nil, frameAccept: u32(1)} {
		said = append(said, raw(kind, false, 0xfc000001, message)...)
	}
	said = append(said, raw(frameOpen, false, 0xfc000002, u32(1), Ask{Kind: Resolve}.encode())...)
	if _, err := says.Write(said); err != nil {
		t.Fatal(err)
	}
	if first, second := <-asked, <-asked; first+second != Proxy+Resolve {
		t.Errorf("asked for %d and %d", first, second)
	}
	_ = says.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// flood says frames until the session hangs up, and returns how many it could.
func flood(says *os.File, limit int, next func(i int) []byte) (said int, err error) {
	if _, err := says.Write(hello); err != nil {
		return 0, err
	}
	for said < limit {
		if _, err := says.Write(next(said)); err != nil {
			return said, err
		}
		said++
	}
	return said, nil
}

// TestStreamsThatNobodyHears opens streams without end and reads nothing of what is answered: a bound ends it, however streams end.
func TestStreamsThatNobodyHears(t *testing.T) {
	const most = 20
	for name, accept := range map[string]func(*Stream){
		"held":     func(st *Stream) { _, _ = st.Accept(), <-st.Silent() },
		"refused":  func(st *Stream) { _ = st.Refuse(Refusal{Denied, strings.Repeat("x", MaxAsk)}) },
		"accepted": func(st *Stream) { _ = st.Accept(strings.Repeat("x", MaxAsk-4)) },
	} {
		t.Run(name, func(t *testing.T) {
			s, says, _, ended := speak(t, Options{Streams: most}, accept)
			_, err := flood(says, 1<<20, func(i int) []byte {
				id := uint32(i) + 1
				return append(raw(frameOpen, false, id, u32(1), proxy), raw(frameReset, false, id)...)
			})
			if err == nil {
				t.Error("it never hung up")
			}
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "too many") {
				t.Errorf("%v", err)
			}
			if kept := s.outbox.queued - s.outbox.written; kept > blockSize+3*most*2*MaxAsk {
				t.Errorf("%d bytes were kept", kept)
			}
		})
	}
}

// TestFilledWindows fills the windows of all streams that there may be, whose data nobody takes: what is kept has the bound of the package's comment.
func TestFilledWindows(t *testing.T) {
	o := Options{Streams: 64, Window: 8 << 10}
	opened, looked := make(chan *Stream, o.Streams), make(chan struct{})
	s, says, hears, ended := speak(t, o, func(st *Stream) {
		_ = st.Accept()
		opened <- st
		<-looked // what is kept goes when this returns
	})
	go func() { _, _ = io.Copy(io.Discard, hears) }()
	if _, err := says.Write(hello); err != nil {
		t.Fatal(err)
	}
	for i := range o.Streams {
		if _, err := says.Write(raw(frameOpen, false, uint32(i)+1, u32(1), proxy)); err != nil {
			t.Fatal(err)
		}
	}
	var all []*Stream
	for range o.Streams {
		all = append(all, <-opened)
	}
	for range o.Window { // a byte at a time
		for _, st := range all {
			if _, err := says.Write(raw(frameData, false, st.id, []byte("x"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := says.Write(raw(frameData, false, all[0].id, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	least, most := keptBlocks(all)
	close(looked)
	if least < o.Window || most > o.Window+blockSize {
		t.Errorf("streams kept %d to %d bytes", least, most)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "more at once") {
		t.Errorf("%v", err)
	}
}

// keptBlocks returns how much the streams keep, in bytes of blocks: the one that keeps least, and most.
func keptBlocks(all []*Stream) (least, most int) {
	var sizes []int
	for _, st := range all {
		st.mu.Lock()
		size := 0
		for _, b := range st.kept {
			size += len(b.data)
		}
		st.mu.Unlock()
		sizes = append(sizes, size)
	}
	return slices.Min(sizes), slices.Max(sizes)
}

// TestNobodyWaitsForAStalledPeer has a peer read nothing, as one that is paused: deadlines, contexts, resets and closes work still, and all goes
// on once the peer does.
func TestNobodyWaitsForAStalledPeer(t *testing.T) {
	in, out, peerIn, peerOut := pipes(t)
	a := New(in, out, Options{})
	serve(t, a, func(*Stream) {})
	if _, err := peerOut.Write(hello); err != nil {
		t.Fatal(err)
	}
	got := make(chan *Stream)
	go func() { got <- open(t, a, Ask{Kind: Dial}) }()
	var heard [4 << 10]byte
	for n := 0; n <= len(hello); { // until it was asked
		more, err := peerIn.Read(heard[:])
		if err != nil {
			t.Fatal(err)
		}
		n += more
	}
	if _, err := peerOut.Write(raw(frameAccept, true, 1, u32(maxCredit))); err != nil {
		t.Fatal(err)
	}
	st := <-got
	if err := st.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write(make([]byte, 10<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write: %v", err)
	}
	if _, err := st.Write(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write after the deadline: %v", err)
	}
	if err := st.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error)
	go func() {
		_, err := st.Write(make([]byte, 10<<20))
		wrote <- err
	}()
	runtime.Gosched()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, io.ErrNoProgress)
	defer cancel()
	if _, _, err := a.Open(ctx, Ask{Kind: Dial}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("an ask: %v", err)
	}
	st.Reset()
	if err := <-wrote; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the write: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, peerIn) }() // it goes on
	for id := uint32(3); ; id++ {
		go func() { got <- open(t, a, Ask{Kind: Dial}) }()
		for last := uint32(0); last < id; {
			a.mu.Lock()
			last = a.last
			a.mu.Unlock()
		}
		if _, err := peerOut.Write(raw(frameAccept, true, id, u32(1))); err != nil {
			t.Fatal(err)
		}
		if err := (<-got).Close(); err != nil || id == 600 { // more than there is room for at once
			break
		}
	}
}

// FuzzWhatThePeerSays takes any bytes: nobody waits for ever, and nothing is kept.
func FuzzWhatThePeerSays(f *testing.F) {
	first := raw(frameOpen, false, 1, u32(1<<20), proxy)
	accept := raw(frameAccept, true, 1, u32(1<<20), protocol.Words([]string{"80"}))
	for _, said := range [][]byte{
		append(first, raw(frameGrant, false, 1, u32(9))...),
		append(accept, raw(frameData, true, 1, []byte("data"))...),
		append(accept, raw(frameEnd, true, 1)...), append(accept, raw(frameClose, true, 1)...), append(accept, raw(frameReset, true, 1)...),
		raw(frameRefuse, true, 1, Refusal{Denied, "x"}.encode()),
	} {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		s, says, hears, ended := speak(t, Options{Streams: 4}, func(st *Stream) {
			if st.Accept("x") == nil {
				_, _ = io.Copy(st, st)
			}
		})
		go func() { _, _ = io.Copy(io.Discard, hears) }()
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			st, _, err := s.Open(t.Context(), Ask{Kind: Dial})
			if err == nil {
				_, _ = io.Copy(io.Discard, st)
				_ = st.Close()
			}
		}()
		_, _ = says.Write(append(hello, said...))
		_ = says.Close()
		t.Log(<-ended) // in any way
		<-asked
		if len(s.streams)+len(s.peers) > 0 || s.spare.Load() != DefaultSpare {
			t.Errorf("%d and %d streams are kept, and %d bytes", len(s.streams), len(s.peers), DefaultSpare-s.spare.Load())
		}
	})
}
