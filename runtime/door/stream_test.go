package door

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// pairOf returns both ends of a stream.
func pairOf(t *testing.T, o Options) (st, peer *Stream) {
	t.Helper()
	opened := make(chan *Stream)
	a, _ := join(t, o, func(st *Stream) {
		_ = st.Accept()
		opened <- st
		<-t.Context().Done()
	})
	got := make(chan *Stream)
	go func() { got <- open(t, a, Ask{Kind: Dial}) }()
	peer = <-opened
	return <-got, peer
}

// TestEndsOfAStream ends a stream in each way while there is data on its way, which comes before the end.
func TestEndsOfAStream(t *testing.T) {
	for name, test := range map[string]struct {
		end         func(st, peer *Stream)
		read, write error // of the peer
	}{
		"half":  {func(st, _ *Stream) { _ = st.CloseWrite() }, nil, nil},
		"close": {func(st, _ *Stream) { _ = st.Close() }, nil, ErrLeft},
		"reset": {func(st, _ *Stream) { st.Reset() }, ErrReset, ErrReset},
		"the session": {func(st, peer *Stream) {
			<-peer.readable // it has come
			st.session.Close()
		}, ErrLost, ErrLost},
	} {
		t.Run(name, func(t *testing.T) {
			st, peer := pairOf(t, Options{})
			if _, err := st.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			test.end(st, peer)
			got, err := io.ReadAll(peer)
			if string(got) != "last words" || !errors.Is(err, test.read) {
				t.Errorf("%q, %v, want %v", got, err, test.read)
			}
			if test.write != nil {
				<-peer.Silent()
			}
			if _, err := peer.Write([]byte("x")); !errors.Is(err, test.write) {
				t.Errorf("write: %v, want %v", err, test.write)
			}
			if name == "half" {
				return
			}
			if _, err := st.Write([]byte("x")); err == nil {
				t.Error("the end that left writes")
			}
			if _, err := st.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the end that left reads: %v", err)
			}
		})
	}
}

// TestStalledStream lets one stream stand that is full both ways; others go on.
func TestStalledStream(t *testing.T) {
	a, _ := join(t, Options{}, echo)
	stalled := open(t, a, Ask{Kind: Proxy})
	stood := make(chan error)
	go func() {
		_, err := stalled.Write(make([]byte, 64<<20))
		stood <- err
	}()
	st := open(t, a, Ask{Kind: Proxy})
	for range 1000 {
		var got [1]byte
		if _, err := st.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Read(got[:]); err != nil {
			t.Fatal(err)
		}
	}
	if err := stalled.Close(); err != nil {
		t.Error(err)
	}
	if err := <-stood; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestReadDeadline(t *testing.T) {
	st, peer := pairOf(t, Options{})
	if err := st.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	read := make(chan error)
	if err := st.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := st.WriteTo(io.Discard)
		read <- err
	}()
	if err := st.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := st.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := st.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestIdleHasNoRoom reads from many files that say nothing more: no memory waits with them.
func TestIdleHasNoRoom(t *testing.T) {
	const many = 200
	a, _ := join(t, Options{}, echo)
	heap := func() uint64 {
		runtime.GC()
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		return now.HeapAlloc
	}
	before := heap()
	for range many {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		st := open(t, a, Ask{Kind: Proxy})
		var all sync.WaitGroup
		all.Go(func() { _, _ = st.ReadFrom(r) })
		t.Cleanup(func() {
			_ = w.Close()
			all.Wait()
			_ = st.Close()
		})
		if _, err := w.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(st, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if after := heap(); after > before+many*blockSize/4 {
		t.Errorf("%d bytes are kept", after-before)
	}
}
