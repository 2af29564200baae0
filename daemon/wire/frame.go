package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// ExecProtocol is the name in the Upgrade header of an exec request.
const ExecProtocol = "sandpool-exec/1"

// MaxFrame is the largest payload of one frame, in bytes. A peer that announces more is cut off.
const MaxFrame = 256 << 10

// Kind says what the payload of a frame is.
type Kind byte

const (
	// FrameStdin carries input to the process; an empty one ends it.
	FrameStdin Kind = iota
	// FrameStdout carries output.
	FrameStdout
	// FrameStderr carries the output of errors; a command with a terminal has none.
	FrameStderr
	// FrameResize carries rows and columns, two big-endian uint16.
	FrameResize
	// FrameSignal carries one byte, the signal's number.
	FrameSignal
	// FrameExit ends the stream; it carries the exit code, a big-endian uint32.
	FrameExit
	// FrameError ends the stream instead; it carries an Error as JSON.
	FrameError
	kinds
)

const frameHeader = 5

// Frame is one message on an exec connection: a byte of kind, four of length (big-endian), the payload.
type Frame struct {
	Kind    Kind
	Payload []byte
}

// WriteFrame writes f with one call to w.
func WriteFrame(w io.Writer, f Frame) error {
	if len(f.Payload) > MaxFrame {
		return fmt.Errorf("frame of %d bytes is over the limit of %d", len(f.Payload), MaxFrame)
	}
	buf := make([]byte, frameHeader, frameHeader+len(f.Payload))
	buf[0] = byte(f.Kind)
	binary.BigEndian.PutUint32(buf[1:], uint32(len(f.Payload))) //nolint:gosec // bounded by MaxFrame above
	_, err := w.Write(append(buf, f.Payload...))
	return err
}

// ReadFrame reads one frame. It returns io.EOF only between frames.
func ReadFrame(r io.Reader) (Frame, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	kind, size := Kind(head[0]), binary.BigEndian.Uint32(head[1:])
	if kind >= kinds {
		return Frame{}, fmt.Errorf("frame of unknown kind %d", kind)
	}
	if size > MaxFrame {
		return Frame{}, fmt.Errorf("frame of %d bytes is over the limit of %d", size, MaxFrame)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return Frame{}, fmt.Errorf("read frame: %w", io.ErrUnexpectedEOF)
	}
	return Frame{Kind: kind, Payload: payload}, nil
}
