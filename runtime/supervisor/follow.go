package supervisor

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"sandpool/runtime/supervisor/protocol"
)

// Output is a piece of what a process wrote. A position is how many bytes of output there were before it, of all streams: one that is
// higher than where the piece before ended says how much of the oldest was dropped between.
type Output = protocol.Chunk

// The streams of a process.
const (
	Stdout   = protocol.Stdout
	Stderr   = protocol.Stderr
	Terminal = protocol.Terminal
)

// Follower reads the output of a process. Close must be called.
type Follower struct {
	conn   *Conn
	stream uint32
	ready  chan struct{} // has room for one: there may be more to take

	mu    sync.Mutex
	kept  []piece // that came and were not taken
	costs int     // of them
	owed  int     // costs of what was taken and not granted anew
	next  int64   // the position of what comes
	ended *protocol.Frame
}

// piece is output that came in one chunk or more.
type piece struct {
	Output
	cost int
}

// Follow reads a process's output from a position on, until the process has ended and its output too: that of its children is waited for
// two seconds more.
func (c *Conn) Follow(pid int, from int64) (*Follower, error) {
	f := &Follower{conn: c, next: max(from, 0), ready: make(chan struct{}, 1)}
	f.stream = c.open(f.receive)
	if err := c.send(protocol.Frame{Kind: protocol.Follow, Stream: f.stream, Payload: protocol.Numbers(int64(pid), f.next)}); err != nil {
		c.leave(f.stream)
		return nil, err
	}
	return f, nil
}

// Run starts a process and follows it from its beginning, so that none of its output is dropped: it waits for the follower to read. It is the
// follower's: process 1 kills its session when the follower leaves or the connection ends, and forgets it when the follower has its end.
func (c *Conn) Run(ctx context.Context, command Command) (Process, *Follower, error) {
	command.Follow = true
	return c.start(ctx, command)
}

// start starts a process. What comes behind the answer is for the follower.
func (c *Conn) start(ctx context.Context, command Command) (Process, *Follower, error) {
	f := &Follower{conn: c, ready: make(chan struct{}, 1)}
	started := make(chan protocol.Frame, 1)
	began := false
	f.stream = c.open(func(frame protocol.Frame) (bool, error) {
		if began {
			return f.receive(frame)
		}
		began = true
		started <- frame
		return frame.Kind == protocol.Reply && command.Follow, nil
	})
	kind, words := command.Start()
	frame, err := c.await(ctx, kind, f.stream, protocol.Words(words), started)
	if err != nil {
		c.disown(f.stream, started)
		return Process{}, nil, err
	}
	c.step("process started")
	p, err := c.process(c.words(frame))
	return p, f, err
}

// receive keeps what the sandbox may send without being asked again, and no more.
func (f *Follower) receive(frame protocol.Frame) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		select {
		case f.ready <- struct{}{}:
		default:
		}
	}()
	if frame.Kind != protocol.Output {
		f.ended = &frame
		return false, nil
	}
	chunk, err := protocol.DecodeChunk(frame.Payload, f.next)
	if err == nil && f.costs+f.owed+chunk.Cost() > protocol.Window {
		err = errors.New("more output at once than was asked for")
	}
	if err != nil {
		return false, err
	}
	f.costs += chunk.Cost()
	last := len(f.kept) - 1
	if last >= 0 && f.kept[last].From == chunk.From && chunk.Position == f.next && len(f.kept[last].Data)+len(chunk.Data) <= protocol.MaxData {
		f.kept[last].Data = append(f.kept[last].Data, chunk.Data...)
		f.kept[last].cost += chunk.Cost()
	} else {
		f.kept = append(f.kept, piece{chunk, chunk.Cost()})
	}
	f.next = chunk.Position + int64(len(chunk.Data))
	return true, nil
}

// Next waits for output. When there is no more, it returns the process as it ended, and no output.
func (f *Follower) Next(ctx context.Context) (Output, *Process, error) {
	for {
		lost := f.conn.Lost()
		out, ended, there := f.take()
		switch {
		case there:
			f.conn.step("output taken")
			f.grant()
			return out, nil, nil
		case ended != nil:
			p, err := f.conn.process(f.conn.words(*ended))
			if err != nil {
				return Output{}, nil, err
			}
			return Output{}, &p, nil
		}
		if lost { // before the look: so there is nothing more to come
			return Output{}, nil, ErrLost
		}
		select {
		case <-f.ready:
		case <-f.conn.lost:
		case <-ctx.Done():
			return Output{}, nil, context.Cause(ctx)
		}
	}
}

// take returns the oldest output that was kept, or else the end, if it came.
func (f *Follower) take() (Output, *protocol.Frame, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) == 0 {
		return Output{}, f.ended, false
	}
	out := f.kept[0]
	f.kept = f.kept[1:]
	f.costs -= out.cost
	f.owed += out.cost
	return out.Output, nil, true
}

// grant lets more output come, once enough was taken.
func (f *Follower) grant() {
	f.mu.Lock()
	owed := f.owed
	if f.ended != nil || owed < protocol.Window/4 {
		f.mu.Unlock()
		return
	}
	f.owed = 0
	f.mu.Unlock()
	// That the connection is lost is told when what came has been read.
	_ = f.conn.send(protocol.Frame{Kind: protocol.Grant, Stream: f.stream, Payload: binary.BigEndian.AppendUint32(nil, uint32(owed))}) //nolint:gosec // bounded by the window
}

// Close ends the reading.
func (f *Follower) Close() {
	f.conn.leave(f.stream)
	f.mu.Lock()
	ended := f.ended != nil
	f.mu.Unlock()
	if ended {
		return // process 1 has left, too
	}
	_ = f.conn.send(protocol.Frame{Kind: protocol.Leave, Stream: f.stream})
}
