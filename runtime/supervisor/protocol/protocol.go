// Package protocol is what the daemon and process 1 of a sandbox say to each other over a pair of pipes. Neither side trusts the other: all
// sizes have bounds, which are checked before anything is read or kept. It imports little, since each sandbox has it in its memory.
package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Version is said by process 1 in its first frame. Versions do not understand each other.
const Version = "1"

// Sizes in bytes.
const (
	// MaxData is how much output or input one frame may carry.
	MaxData = 64 << 10
	// MaxMessage is how large a frame of another kind may be: what Linux takes for a program, 2 MiB, and the length of each word.
	MaxMessage = 4 << 20
	// Window is what the Output of one stream may cost that is under way without a Grant; see Chunk.Cost.
	Window = 256 << 10
	// ChunkCost is what an Output costs beside its data.
	ChunkCost = 64
)

// FrameTime is how long a frame that has begun may take to arrive or to be sent.
const FrameTime = 10 * time.Second

// Kind says what a frame is.
type Kind byte

// The frames of the daemon. Each but Grant and Leave begins a stream of its own, which one of the answers ends.
const (
	// Start starts a process; the words are those of a Start. The answer is a Reply with the words of a Process.
	Start Kind = 1 + iota
	// List asks for all processes. The answer is a Reply with the words of each Process, as one word.
	List
	// Get asks for one process: its id.
	Get
	// Input gives a process input: its id and the bytes, of which none end the input. The Reply comes when they were taken.
	Input
	// Signal sends a signal: the process's id and the number.
	Signal
	// Resize says how large a process's terminal is: its id, rows and columns.
	Resize
	// Kept asks for what claims brought along. The answer is a Reply of KEY=VALUE.
	Kept
	// Follow asks for the output of a process from a position on: its id and the position. The answers are Output, and an End.
	Follow
	// Leave ends a Follow of the same stream. There is no answer.
	Leave
	// Grant lets output of the same stream come that costs so much more, as 4 bytes. There is no answer.
	Grant
	// StartLimited is a Start of a command with Limits, whose words are one word more, the first. Process 1 of earlier releases refuses it.
	StartLimited
	// Keep adds to what claims brought along: KEY=VALUE. The Reply comes when it is kept.
	Keep
	// Own says that a process that others than process 1 started ends with the connection: its id. There is no answer.
	Own
)

// The frames of process 1.
const (
	// Hello is the first: its Version.
	Hello Kind = 64 + iota
	// Reply ends a stream with what was asked for.
	Reply
	// Failed ends a stream: a Failure.
	Failed
	// Output is output of a process: see Chunk.
	Output
	// End ends a Follow: the words of the Process, which has ended.
	End
)

// Frame is a message about one stream, whose number the daemon chooses.
type Frame struct {
	Kind    Kind
	Stream  uint32
	Payload []byte
}

const headSize = 9

// limit is how large the payload of a kind may be.
func limit(k Kind) int {
	switch k {
	case Start, StartLimited, List, Reply:
		return MaxMessage
	case Grant:
		return 4
	case Leave:
		return 0
	default:
		return MaxData + 64
	}
}

// Encode returns the frame's bytes.
func (f Frame) Encode() ([]byte, error) {
	if len(f.Payload) > limit(f.Kind) {
		return nil, fmt.Errorf("a message of %d bytes: the limit is %d", len(f.Payload), limit(f.Kind))
	}
	data := make([]byte, headSize, headSize+len(f.Payload))
	data[0] = byte(f.Kind)
	binary.BigEndian.PutUint32(data[1:], f.Stream)
	binary.BigEndian.PutUint32(data[5:], uint32(len(f.Payload))) //nolint:gosec // bounded above
	return append(data, f.Payload...), nil
}

// errSize is that a frame is larger than its kind may be.
var errSize = errors.New("a frame is too large")

// Pipe is what frames come from.
type Pipe interface {
	io.Reader
	SetReadDeadline(deadline time.Time) error
}

// Reader reads frames.
type Reader struct {
	pipe Pipe
	buf  *bufio.Reader
}

// NewReader makes a reader of a pipe that has no deadline, and that nothing else reads from then on.
func NewReader(pipe Pipe) *Reader { return &Reader{pipe, bufio.NewReader(pipe)} }

// Next reads a frame. It waits for one as long as it takes, but one that has begun must be there whole within FrameTime.
func (r *Reader) Next() (Frame, error) {
	if _, err := r.buf.Peek(1); err != nil {
		return Frame{}, err
	}
	limited := false
	read := func(b []byte) error {
		if !limited && r.buf.Buffered() < len(b) {
			limited = true
			if err := r.pipe.SetReadDeadline(time.Now().Add(FrameTime)); err != nil {
				return err
			}
		}
		_, err := io.ReadFull(r.buf, b)
		return unexpected(err)
	}
	f, err := readFrame(read)
	if limited && err == nil {
		err = r.pipe.SetReadDeadline(time.Time{})
	}
	return f, err
}

func readFrame(read func([]byte) error) (Frame, error) {
	var head [headSize]byte
	if err := read(head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: Kind(head[0]), Stream: binary.BigEndian.Uint32(head[1:])}
	size := binary.BigEndian.Uint32(head[5:])
	if uint64(size) > uint64(limit(f.Kind)) { //nolint:gosec // a limit is not negative
		return Frame{}, fmt.Errorf("%w: kind %d has %d bytes", errSize, f.Kind, size)
	}
	f.Payload = make([]byte, size)
	return f, read(f.Payload)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// The streams of a process.
const (
	Stdout   byte = 1
	Stderr   byte = 2
	Terminal byte = 3 // both
)

// Chunk is a piece of a process's output. A position is how many bytes of output there were before, of all its streams.
type Chunk struct {
	Position int64
	From     byte // Stdout, Stderr or Terminal
	Data     []byte
}

// Cost is what keeping the chunk costs, in bytes.
func (c Chunk) Cost() int { return len(c.Data) + ChunkCost }

// Encode returns the payload of an Output.
func (c Chunk) Encode() []byte {
	payload := make([]byte, 0, 9+len(c.Data))
	payload = binary.BigEndian.AppendUint64(payload, uint64(c.Position)) //nolint:gosec // not negative
	return append(append(payload, c.From), c.Data...)
}

// DecodeChunk reads the payload of an Output, which goes on behind the position after: what is left out between was dropped.
func DecodeChunk(payload []byte, after int64) (Chunk, error) {
	if len(payload) < 10 || len(payload) > 9+MaxData {
		return Chunk{}, fmt.Errorf("output of %d bytes", len(payload))
	}
	c := Chunk{Position: int64(binary.BigEndian.Uint64(payload)), From: payload[8], Data: payload[9:]} //nolint:gosec // checked next
	if c.Position < after || c.Position > 1<<62 || c.From < Stdout || c.From > Terminal {
		return Chunk{}, fmt.Errorf("output at position %d, from %d", c.Position, c.From)
	}
	return c, nil
}
