package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"sandpool/daemon/wire"
)

// Stdio is what a command in a sandbox is connected to.
type Stdio struct {
	In       io.Reader         // nil: the command finds its input at its end
	Out, Err io.Writer         // nil: thrown away; with a terminal all output is on Out
	Control  <-chan wire.Frame // frames of Resize and Signal to send; nil when there are none
	Sent     func()            // called when such a frame was sent, if not nil
}

// Resize is the frame that sets the size of the command's terminal.
func Resize(rows, cols uint16) wire.Frame {
	payload := binary.BigEndian.AppendUint16(nil, rows)
	return wire.Frame{Kind: wire.FrameResize, Payload: binary.BigEndian.AppendUint16(payload, cols)}
}

// Signal is the frame that sends a signal to the command.
func Signal(sig syscall.Signal) wire.Frame {
	return wire.Frame{Kind: wire.FrameSignal, Payload: []byte{byte(sig)}} //nolint:gosec // signals end at 64
}

// Exec runs a command in a claim's sandbox until it ends, and returns its exit code. The connection breaks when ctx ends, and
// the daemon then kills the command.
//
// A Read of stdio.In that is under way when the command ends is left behind: a terminal cannot be made to give up a read. So is, when
// ctx ends, a Write of output that nobody takes.
func (c *Client) Exec(ctx context.Context, id string, req wire.ExecRequest, stdio Stdio) (exit int, err error) {
	if err := checkText(req); err != nil {
		return 0, err
	}
	return c.converse(ctx, claimPath(id)+"/exec", req, stdio)
}

// converse asks for a stream of frames and carries them until the last.
func (c *Client) converse(ctx context.Context, path string, body any, stdio Stdio) (exit int, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	hangUp := sync.OnceFunc(func() { _ = conn.Close() }) // nothing is lost: the last frame was read, or none will come
	defer hangUp()
	defer context.AfterFunc(ctx, hangUp)()

	exit, err = run(ctx, conn, hangUp, path, body, stdio)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return 0, fmt.Errorf("run command: %w", cause)
	}
	return exit, err
}

// checkText refuses what would reach the command as something else: JSON is UTF-8.
func checkText(req wire.ExecRequest) error {
	for _, text := range slices.Concat(req.Args, req.Env, []string{req.Cwd, req.User}) {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%q is no UTF-8 text: name it in another way, such as by a pattern of a shell in the sandbox", text)
		}
	}
	return nil
}

func run(ctx context.Context, conn net.Conn, hangUp func(), path string, body any, stdio Stdio) (int, error) {
	stream, err := upgrade(ctx, conn, path, body)
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() { send(conn, stdio, done) })
	defer sender.Wait()
	defer hangUp() // ends a write that the other side does not read
	defer close(done)
	return receiveUntil(ctx, stream, stdio)
}

// outputTime is how long output may wait to be taken once nobody wants the command any more.
const outputTime = time.Second

// receiveUntil is receive, but when ctx ends it waits for a Write of output only so long.
func receiveUntil(ctx context.Context, stream io.Reader, stdio Stdio) (exit int, err error) {
	ended := make(chan struct{})
	var received struct {
		exit int
		err  error
	}
	go func() {
		defer close(ended)
		received.exit, received.err = receive(stream, stdio)
	}()
	select {
	case <-ended:
		return received.exit, received.err
	case <-ctx.Done():
	}
	select {
	case <-ended:
		return received.exit, received.err
	case <-time.After(outputTime):
		return 0, context.Cause(ctx)
	}
}

// upgrade asks for the command and returns the stream of frames that the daemon answers with.
func upgrade(ctx context.Context, conn net.Conn, path string, body any) (io.Reader, error) {
	req, err := newRequest(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", wire.ExecProtocol)
	if err := req.Write(conn); err != nil {
		return nil, callError(req, err)
	}
	stream := bufio.NewReader(conn)
	resp, err := http.ReadResponse(stream, req)
	if err != nil {
		return nil, callError(req, err)
	}
	defer resp.Body.Close() //nolint:errcheck // empty after a 101, and read before otherwise
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, readError(resp)
	}
	return stream, nil
}

// send is the only writer of frames. It ends with done or with the connection, whose end receive reports.
func send(conn io.Writer, stdio Stdio, done <-chan struct{}) {
	input, control := input(stdio.In, done), stdio.Control
	for {
		var frame wire.Frame
		sent := func() {}
		select {
		case <-done:
			return
		case frame = <-input:
			if len(frame.Payload) == 0 {
				input = nil
			}
		case next, open := <-control:
			if !open {
				control = nil
				continue
			}
			if frame = next; stdio.Sent != nil {
				sent = stdio.Sent
			}
		}
		if wire.WriteFrame(conn, frame) != nil {
			return
		}
		sent()
	}
}

const chunk = 32 << 10 // bytes of input in one frame

// input reads in to its end and returns it as frames, the last of them empty. A broken input ends like a short one.
func input(in io.Reader, done <-chan struct{}) <-chan wire.Frame {
	frames := make(chan wire.Frame)
	go func() {
		for more := true; more; {
			frame := wire.Frame{Kind: wire.FrameStdin}
			if in != nil {
				frame.Payload = make([]byte, chunk)
				n, err := in.Read(frame.Payload)
				frame.Payload = frame.Payload[:n]
				if n == 0 && err == nil {
					continue
				}
			}
			more = len(frame.Payload) > 0
			select {
			case frames <- frame:
			case <-done:
				return
			}
		}
	}()
	return frames
}

// receive copies output until the command ends.
func receive(stream io.Reader, stdio Stdio) (exit int, err error) {
	for {
		frame, err := wire.ReadFrame(stream)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return 0, errors.New("sandpoold hung up before the command ended")
		case err != nil:
			return 0, fmt.Errorf("read output: %w", err)
		}
		switch frame.Kind {
		case wire.FrameStdout:
			err = write(stdio.Out, frame.Payload)
		case wire.FrameStderr:
			err = write(stdio.Err, frame.Payload)
		case wire.FrameExit:
			return exitCode(frame.Payload)
		case wire.FrameError:
			return 0, frameError(frame.Payload)
		default:
			err = fmt.Errorf("read output: frame of kind %d is not for clients", frame.Kind)
		}
		if err != nil {
			return 0, err
		}
	}
}

func write(w io.Writer, output []byte) error {
	if w == nil {
		return nil
	}
	if _, err := w.Write(output); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func exitCode(payload []byte) (int, error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("read exit code: %d bytes, want 4", len(payload))
	}
	return int(binary.BigEndian.Uint32(payload)), nil
}

func frameError(payload []byte) error {
	answer := &wire.Error{}
	if err := json.Unmarshal(payload, answer); err != nil {
		return fmt.Errorf("read error %q: %w", payload, err)
	}
	return answer
}
