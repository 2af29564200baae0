package processes

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	goruntime "runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/runtime"
)

// FuzzExecFrames sends any bytes to a running command: the stream ends with them, in order, and keeps no more of them than a frame.
func FuzzExecFrames(f *testing.F) {
	for _, seed := range []string{
		"", "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x02hi\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01x", "\x04\x00\x00\x00\x01\x0f", "\x04\x00\x00\x00\x01\xff",
		"\x03\x00\x00\x00\x04\x00\x18\x00\x50", "\x01\x00\x00\x00\x00", "\x00\x00\x04\x00\x00x", "\x00\xff\xff\xff\xff", "\x00\x00\x04\x00\x01", "\x63",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		near, far := socketPair(t)
		s := NewStream(near, near, slog.New(slog.DiscardHandler))
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		var client sync.WaitGroup
		client.Go(func() {
			_, _ = far.Write(sent)
			_ = far.CloseWrite()
			_, _ = io.Copy(io.Discard, far)
		})
		guard := time.AfterFunc(time.Minute, func() { panic("the stream hangs") })
		code, err := s.Run(t.Context(), func(spec runtime.ExecSpec) (Process, error) { return drop{spec, make(chan int, 1)}, nil })
		guard.Stop()
		_ = near.Close()
		client.Wait()
		goruntime.ReadMemStats(&after)
		if err == nil && (code < 129 || code > 128+64) {
			t.Errorf("it ended with %d, which no frame asked for", code)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(8*len(sent)+2<<20) {
			t.Errorf("%d bytes cost %d", len(sent), grown)
		}
	})
}

// socketPair returns the two ends of a unix socket.
func socketPair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 0, 2)
	for _, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ends = append(ends, conn.(*net.UnixConn))
	}
	return ends[0], ends[1]
}

// drop is a process that drops its input and ends by the first signal.
type drop struct {
	spec runtime.ExecSpec
	code chan int
}

func (d drop) Resize(context.Context, uint16, uint16) error { return nil }

func (d drop) Signal(_ context.Context, signal syscall.Signal) error {
	select {
	case d.code <- 128 + int(signal):
	default:
	}
	return nil
}

func (d drop) Wait(ctx context.Context) (int, error) {
	go func() { _, _ = io.Copy(io.Discard, d.spec.Stdin) }()
	select {
	case code := <-d.code:
		return code, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
