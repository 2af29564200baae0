package processes

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
	"sandpool/runtime"
)

const (
	// hangUpCheck is how often a stream looks whether its client is still there.
	hangUpCheck = time.Second
	// lastFrameTimeout is how long a client may take to receive the frame that ends its stream.
	lastFrameTimeout = 5 * time.Second
	// MaxSignal is the number of the last signal.
	MaxSignal = 64
)

// ErrClientGone ends a stream that nobody reads any more.
var ErrClientGone = fmt.Errorf("exec client is gone: %w", context.Canceled)

// Process is a command that runs in a sandbox; see runtime.Process.
type Process interface {
	Resize(ctx context.Context, rows, cols uint16) error
	Signal(ctx context.Context, signal syscall.Signal) error
	Wait(ctx context.Context) (code int, err error)
}

var _ Process = (*runtime.Process)(nil)

// Stream carries the input and output of one process as frames. It holds at most one frame each way: a side that does
// not read stops the other one. A signal therefore waits behind input that the process does not read; hanging up does not.
type Stream struct {
	conn   *net.UnixConn
	in     *bufio.Reader // of conn
	log    *slog.Logger
	broken atomic.Bool // a frame may have been sent in part, so that none can follow
}

// NewStream makes one of a connection, of which in is what was read ahead and then the connection itself.
func NewStream(conn *net.UnixConn, in io.Reader, log *slog.Logger) *Stream {
	return &Stream{conn: conn, in: bufio.NewReader(in), log: log}
}

// Run starts a process and carries frames until it ends, and returns its exit code; a client that hangs up kills it.
// The frame that ends the stream is left to the caller.
func (s *Stream) Run(ctx context.Context, start func(runtime.ExecSpec) (Process, error)) (code int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdin, feed := io.Pipe()
	defer func() { _ = stdin.Close() }()
	p, err := start(runtime.ExecSpec{
		Stdin:  stdin,
		Stdout: frameWriter{s, wire.FrameStdout, cancel},
		Stderr: frameWriter{s, wire.FrameStderr, cancel},
	})
	if err != nil {
		return 0, err
	}
	var helpers sync.WaitGroup
	helpers.Go(func() { cancel(s.receive(ctx, feed, p)) })
	helpers.Go(func() { s.guard(ctx, cancel) })
	code, err = p.Wait(ctx)
	cancel(nil)
	_ = stdin.Close() // a receive that waits for the process to read goes on
	helpers.Wait()
	return code, err
}

// guard looks for a client that hung up while nothing is read from it, and unblocks all reads and writes when ctx ends.
func (s *Stream) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(hangUpCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if HungUp(s.conn) {
				cancel(ErrClientGone)
			}
		case <-ctx.Done():
			_ = s.conn.SetDeadline(time.Unix(1, 0)) // long past; an error means that it is closed
			return
		}
	}
}

// receive acts on the client's frames. It returns why there are no more.
func (s *Stream) receive(ctx context.Context, feed *io.PipeWriter, p Process) error {
	for {
		frame, err := wire.ReadFrame(s.in)
		if err != nil {
			return badFrame(err)
		}
		if err := s.obey(ctx, frame, feed, p); err != nil {
			return err
		}
	}
}

// badFrame tells a client that is gone from one that does not keep to the protocol.
func badFrame(err error) error {
	_, fromConn := errors.AsType[net.Error](err)
	if fromConn || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrClientGone
	}
	return Invalid("%s", err)
}

func (s *Stream) obey(ctx context.Context, frame wire.Frame, feed *io.PipeWriter, p Process) error {
	data, err := frame.Payload, error(nil)
	switch {
	case frame.Kind == wire.FrameStdin && len(data) == 0:
		err = feed.Close()
	case frame.Kind == wire.FrameStdin:
		_, err = feed.Write(data)
	case frame.Kind == wire.FrameResize && len(data) == 4:
		err = p.Resize(ctx, binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]))
	case frame.Kind == wire.FrameSignal && len(data) == 1 && data[0] > 0 && data[0] <= MaxSignal:
		err = p.Signal(ctx, syscall.Signal(data[0]))
	default:
		return Invalid("frame of kind %d with %d bytes is not for the daemon", frame.Kind, len(data))
	}
	if err != nil { // the process ended meanwhile
		s.log.Debug("exec frame had no effect", "kind", frame.Kind, "err", err)
	}
	return nil
}

// frameWriter sends what is written to it as frames of one kind.
type frameWriter struct {
	stream *Stream
	kind   wire.Kind
	cancel context.CancelCauseFunc // of the stream
}

func (w frameWriter) Write(data []byte) (int, error) {
	for sent := 0; sent < len(data); {
		chunk := data[sent:min(len(data), sent+wire.MaxFrame)]
		if err := wire.WriteFrame(w.stream.conn, wire.Frame{Kind: w.kind, Payload: chunk}); err != nil {
			w.stream.broken.Store(true)
			w.cancel(ErrClientGone)
			return sent, err
		}
		sent += len(chunk)
	}
	return len(data), nil
}

// SendExit ends the stream with the process's exit code.
func (s *Stream) SendExit(code int) {
	s.send(wire.FrameExit, binary.BigEndian.AppendUint32(nil, uint32(code))) //nolint:gosec // an exit code fits
}

// SendError ends the stream with why there is no exit code.
func (s *Stream) SendError(e *wire.Error) {
	data, err := json.Marshal(e)
	if err != nil {
		s.log.Error("encode exec error", "err", err)
		return
	}
	s.send(wire.FrameError, data)
}

// send sends a frame that ends the stream.
func (s *Stream) send(kind wire.Kind, data []byte) {
	if s.broken.Load() {
		return
	}
	err := s.conn.SetWriteDeadline(time.Now().Add(lastFrameTimeout))
	if err == nil {
		err = wire.WriteFrame(s.conn, wire.Frame{Kind: kind, Payload: data})
	}
	if err != nil {
		s.log.Debug("exec client did not see the end", "err", err)
	}
}

// HungUp tells whether the other end was closed. Reading would tell only after all input that is on its way.
func HungUp(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	var gone bool
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} //nolint:gosec // a file descriptor fits
		_, pollErr := unix.Poll(poll, 0)
		gone = pollErr == nil && poll[0].Revents != 0
	})
	return gone || err != nil
}
