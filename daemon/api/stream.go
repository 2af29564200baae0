package api

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
	// maxSignal is the number of the last signal.
	maxSignal = 64
)

// errClientGone ends a stream that nobody reads any more.
var errClientGone = fmt.Errorf("exec client is gone: %w", context.Canceled)

// execStream carries the input and output of one process as frames. It holds at most one frame each way: a side that does
// not read stops the other one. A signal therefore waits behind input that the process does not read; hanging up does not.
type execStream struct {
	taken  io.Closer // what net/http gave away; to be closed
	conn   *net.UnixConn
	in     *bufio.Reader // of conn
	log    *slog.Logger
	broken atomic.Bool // a frame may have been sent in part, so that none can follow
}

// run starts a process and carries frames until it ends, and returns its exit code; a client that hangs up kills it.
// The frame that ends the stream is left to the caller.
func (s *execStream) run(ctx context.Context, start func(runtime.ExecSpec) (Process, error)) (code int, err error) {
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
func (s *execStream) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(hangUpCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if hungUp(s.conn) {
				cancel(errClientGone)
			}
		case <-ctx.Done():
			_ = s.conn.SetDeadline(time.Unix(1, 0)) // long past; an error means that it is closed
			return
		}
	}
}

// receive acts on the client's frames. It returns why there are no more.
func (s *execStream) receive(ctx context.Context, feed *io.PipeWriter, p Process) error {
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
		return errClientGone
	}
	return invalid("%s", err)
}

func (s *execStream) obey(ctx context.Context, frame wire.Frame, feed *io.PipeWriter, p Process) error {
	data, err := frame.Payload, error(nil)
	switch {
	case frame.Kind == wire.FrameStdin && len(data) == 0:
		err = feed.Close()
	case frame.Kind == wire.FrameStdin:
		_, err = feed.Write(data)
	case frame.Kind == wire.FrameResize && len(data) == 4:
		err = p.Resize(ctx, binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]))
	case frame.Kind == wire.FrameSignal && len(data) == 1 && data[0] > 0 && data[0] <= maxSignal:
		err = p.Signal(ctx, syscall.Signal(data[0]))
	default:
		return invalid("frame of kind %d with %d bytes is not for the daemon", frame.Kind, len(data))
	}
	if err != nil { // the process ended meanwhile
		s.log.Debug("exec frame had no effect", "kind", frame.Kind, "err", err)
	}
	return nil
}

// frameWriter sends what is written to it as frames of one kind.
type frameWriter struct {
	stream *execStream
	kind   wire.Kind
	cancel context.CancelCauseFunc // of the stream
}

func (w frameWriter) Write(data []byte) (int, error) {
	for sent := 0; sent < len(data); {
		chunk := data[sent:min(len(data), sent+wire.MaxFrame)]
		if err := wire.WriteFrame(w.stream.conn, wire.Frame{Kind: w.kind, Payload: chunk}); err != nil {
			w.stream.broken.Store(true)
			w.cancel(errClientGone)
			return sent, err
		}
		sent += len(chunk)
	}
	return len(data), nil
}

func (s *execStream) sendExit(code int) {
	s.send(wire.FrameExit, binary.BigEndian.AppendUint32(nil, uint32(code))) //nolint:gosec // an exit code fits
}

func (s *execStream) sendError(e *wire.Error) {
	data, err := json.Marshal(e)
	if err != nil {
		s.log.Error("encode exec error", "err", err)
		return
	}
	s.send(wire.FrameError, data)
}

// send sends a frame that ends the stream.
func (s *execStream) send(kind wire.Kind, data []byte) {
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

// hungUp tells whether the other end was closed. Reading would tell only after all input that is on its way.
func hungUp(conn *net.UnixConn) bool {
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
