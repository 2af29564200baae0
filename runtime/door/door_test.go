package door

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// pipes returns two pairs of pipes that are joined.
func pipes(t testing.TB) (in, out, peerIn, peerOut *os.File) {
	t.Helper()
	in, peerOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	peerIn, out, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{in, out, peerIn, peerOut} {
			_ = f.Close()
		}
	})
	return in, out, peerIn, peerOut
}

// serve has a session served until the test's end.
func serve(t testing.TB, s *Session, accept func(*Stream)) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(accept) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil {
			t.Errorf("a session ended: %v", err)
		}
	})
}

// join returns two ends that serve each other.
func join(t testing.TB, o Options, accept func(*Stream)) (a, b *Session) {
	t.Helper()
	in, out, peerIn, peerOut := pipes(t)
	a, b = New(in, out, o), New(peerIn, peerOut, o)
	serve(t, a, func(st *Stream) { _ = st.Refuse(Refusal{Away, "nobody asks this end"}) })
	serve(t, b, accept)
	return a, b
}

// echo sends back what comes.
func echo(st *Stream) {
	if st.Accept("word", "") != nil {
		return
	}
	if _, err := io.Copy(st, st); err == nil {
		_ = st.CloseWrite()
	}
}

func open(t testing.TB, s *Session, a Ask) *Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, _, err := s.Open(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestAsk(t *testing.T) {
	asked := make(chan Ask, 1)
	a, _ := join(t, Options{}, func(st *Stream) {
		asked <- st.Ask()
		switch st.Ask().Kind {
		case Resolve:
			_ = st.Accept("80", "", "443")
		case Connect:
			_ = st.Refuse(Refusal{Denied, "rule x"})
		default: // neither
		}
	})
	want := Ask{Resolve, "name\x00", 65535, []string{"", "x"}}
	st, words, err := a.Open(t.Context(), want)
	if got := <-asked; err != nil || !slices.Equal(words, []string{"80", "", "443"}) || got.Name != want.Name || got.Port != want.Port || !slices.Equal(got.Words, want.Words) {
		t.Fatalf("%+v, %q, %v", got, words, err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	for kind, reason := range map[Kind]Reason{Connect: Denied, Proxy: Failed} {
		_, _, err = a.Open(t.Context(), Ask{Kind: kind})
		<-asked
		if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Reason != reason {
			t.Errorf("%v, want that it is %s", err, reason)
		}
	}
	if _, _, err := a.Open(t.Context(), Ask{Name: string(make([]byte, MaxAsk))}); err == nil {
		t.Error("too much was asked")
	}
}

// TestBytes carries much both ways at once, over many streams, with half-closed ends.
func TestBytes(t *testing.T) {
	a, _ := join(t, Options{}, echo)
	sent := bytes.Repeat([]byte("0123456789abcde\n"), 3<<16)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			st := open(t, a, Ask{Kind: Proxy})
			defer func() { _ = st.Close() }()
			all.Go(func() {
				var from io.Reader = bytes.NewReader(sent)
				if i%2 == 0 {
					from = struct{ io.Reader }{from}
				}
				if _, err := io.Copy(st, from); err != nil {
					t.Error(err)
				}
				if err := st.CloseWrite(); err != nil {
					t.Error(err)
				}
				if _, err := st.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after the end: %v", err)
				}
			})
			var to bytes.Buffer
			if _, err := io.Copy(&to, st); err != nil || !bytes.Equal(to.Bytes(), sent) {
				t.Errorf("%d bytes of %d, %v", to.Len(), len(sent), err)
			}
		})
	}
	all.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.streams) > 0 || a.spare.Load() != DefaultSpare {
		t.Errorf("%d streams and %d bytes are kept", len(a.streams), DefaultSpare-a.spare.Load())
	}
}
