// Package supervisor talks to process 1 of a sandbox, which starts processes for the daemon and keeps what they write. The processes
// outlive the connection, and the daemon. The sandbox is hostile: what it sends is checked, and nothing of it is kept beyond bounds.
package supervisor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/runtime/supervisor/protocol"
)

// MaxGiven is what a claim may give its sandbox at a time, in bytes: less than a pipe holds, so that it is in the sandbox when who takes it is.
const MaxGiven = 48 << 10

// GivenSize is what an environment takes of that.
func GivenSize(env []string) int { return len(protocol.Words(env)) }

// Process is a process of a sandbox.
type Process = protocol.Process

// Command is a process to start.
type Command = protocol.Command

// Failure is why the sandbox did not do something; Code is 126 or 127 for a command that cannot be run, as shells have it.
type Failure = protocol.Failure

// ErrLost is that the connection ended: process 1 or the sandbox did, or another daemon took over. What was started lives on.
var ErrLost = errdefs.ErrUnavailable.WithMessage("the connection to the sandbox's process 1 has ended")

// answerTime is how long process 1 may take to answer.
const answerTime = 30 * time.Second

var errSilent = errdefs.ErrUnavailable.WithMessage(fmt.Sprintf("the sandbox's process 1 has not answered within %s: it may be paused, or stopped from inside", answerTime))

// Conn is a connection to process 1. All methods may be called at once. Errors are of class NotFound where there is no such process,
// InvalidArgument, or Unavailable when there is too much at once or the connection has ended.
type Conn struct {
	in, out *os.File
	frames  *protocol.Reader // of in
	lost    chan struct{}    // closed when the connection has ended

	sending sync.Mutex

	run  func(func()) // runs its argument beside all else
	step func(string) // told at every step after which a crash must lose nothing

	mu      sync.Mutex
	streams map[uint32]receiver
	last    uint32
	feeding [64]chan struct{} // locks of the inputs of processes, which some share
}

// receiver gets the frames of a stream. It must not wait. It returns false when there must be no more.
type receiver func(f protocol.Frame) (more bool, err error)

// Open begins a conversation over a pair of pipes, which the connection owns from then on, also after an error. It waits for process 1's
// first word. run has its argument run beside all else until it returns; step is told at every step after which a crash must lose nothing.
func Open(ctx context.Context, in, out *os.File, run func(func()), step func(string)) (*Conn, error) {
	c := &Conn{in: in, out: out, run: run, step: step, lost: make(chan struct{}), streams: map[uint32]receiver{}}
	for i := range c.feeding {
		c.feeding[i] = make(chan struct{}, 1)
	}
	defer context.AfterFunc(ctx, func() { _ = in.SetReadDeadline(time.Unix(1, 0)) })()
	step("supervisor plugged")
	c.frames = protocol.NewReader(in)
	hello, err := c.frames.Next()
	switch {
	case err != nil:
		err = fmt.Errorf("hear from process 1: %w", err)
	case hello.Kind != protocol.Hello || string(hello.Payload) != protocol.Version:
		err = errdefs.ErrFailedPrecondition.WithMessage("process 1 is of another release")
	}
	if err != nil {
		c.Close()
		return nil, errors.Join(err, context.Cause(ctx))
	}
	run(c.read)
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() { _, _ = c.in.Close(), c.out.Close() }

// Lost tells whether the connection has ended.
func (c *Conn) Lost() bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}

// read hands on frames until the connection ends, or breaks the rules.
func (c *Conn) read() {
	defer close(c.lost)
	defer c.Close()
	if c.in.SetReadDeadline(time.Time{}) != nil { // that of who opened it
		return
	}
	for {
		frame, err := c.frames.Next()
		if err != nil || c.dispatch(frame) != nil {
			return
		}
	}
}

func (c *Conn) dispatch(f protocol.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	receive := c.streams[f.Stream]
	switch {
	case f.Stream > c.last || f.Kind < protocol.Reply || f.Kind > protocol.End:
		return errors.New("a frame that nobody asked for")
	case receive == nil:
		return nil // who asked has gone
	}
	more, err := receive(f)
	if !more {
		delete(c.streams, f.Stream)
	}
	return err
}

// open begins a stream.
func (c *Conn) open(r receiver) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.streams[c.last] = r
	return c.last
}

// leave has what still comes for a stream dropped.
func (c *Conn) leave(stream uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, stream)
}

// send sends a frame whole, or ends the connection.
func (c *Conn) send(f protocol.Frame) error {
	data, err := f.Encode()
	if err != nil {
		return errdefs.ErrInvalidArgument.WithMessage(err.Error())
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	_ = c.out.SetWriteDeadline(time.Now().Add(protocol.FrameTime))
	if _, err := c.out.Write(data); err != nil {
		c.Close()
		return ErrLost
	}
	return nil
}

// disown has a process killed that is started after all: who asked for it has gone. answered has what came meanwhile.
func (c *Conn) disown(stream uint32, answered <-chan protocol.Frame) {
	late := func(f protocol.Frame) (bool, error) {
		if f.Kind != protocol.Reply {
			return false, nil // it did not start
		}
		words, err := protocol.SplitWords(f.Payload)
		if err != nil {
			return false, err
		}
		p, err := protocol.ProcessOf(words)
		if err != nil {
			return false, err
		}
		c.run(func() {
			_ = c.Signal(context.Background(), p.PID, syscall.SIGKILL) // has a time of its own; the sandbox may have ended
			_ = c.send(protocol.Frame{Kind: protocol.Leave, Stream: stream})
		})
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case f := <-answered:
		delete(c.streams, stream)
		if _, err := late(f); err != nil {
			c.Close()
		}
	default:
		c.streams[stream] = late
	}
}

// ask sends a request and returns the words of its answer.
func (c *Conn) ask(ctx context.Context, kind protocol.Kind, payload []byte) ([]string, error) {
	answer := make(chan protocol.Frame, 1)
	stream := c.open(func(f protocol.Frame) (bool, error) {
		answer <- f
		return false, nil
	})
	f, err := c.await(ctx, kind, stream, payload, answer)
	if err != nil {
		c.leave(stream)
		return nil, err
	}
	return c.words(f)
}

// await sends the first frame of a stream and waits for its answer.
func (c *Conn) await(ctx context.Context, kind protocol.Kind, stream uint32, payload []byte, answer <-chan protocol.Frame) (protocol.Frame, error) {
	if kind != protocol.Input { // which waits for the process to read
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, answerTime, errSilent)
		defer cancel()
	}
	if err := c.send(protocol.Frame{Kind: kind, Stream: stream, Payload: payload}); err != nil {
		return protocol.Frame{}, err
	}
	switch kind {
	case protocol.Start, protocol.StartLimited:
		c.step("process asked")
	case protocol.Input:
		c.step("input sent")
	default: // it changes nothing that outlives the connection
	}
	select {
	case f := <-answer:
		return f, nil
	case <-c.lost:
		return protocol.Frame{}, ErrLost
	case <-ctx.Done():
		return protocol.Frame{}, context.Cause(ctx)
	}
}

// words are those of an answer. One that makes no sense ends the connection.
func (c *Conn) words(f protocol.Frame) ([]string, error) {
	if f.Kind == protocol.Failed {
		failed, err := protocol.DecodeFailure(f.Payload)
		if err != nil {
			return nil, c.nonsense(err)
		}
		return nil, classify(failed)
	}
	words, err := protocol.SplitWords(f.Payload)
	if err == nil && f.Kind != protocol.Reply && f.Kind != protocol.End {
		err = fmt.Errorf("a frame of kind %d", f.Kind)
	}
	if err != nil {
		return nil, c.nonsense(err)
	}
	return words, nil
}

func (c *Conn) nonsense(err error) error {
	c.Close()
	return fmt.Errorf("%w: process 1 makes no sense: %w", ErrLost, err)
}

// classify gives a failure the class of an error that it stands for. What it says is the sandbox's: to be shown as such.
func classify(f *protocol.Failure) error {
	class := map[protocol.Reason]error{
		protocol.NotFound: errdefs.ErrNotFound, protocol.Refused: errdefs.ErrInvalidArgument, protocol.NoRoom: errdefs.ErrUnavailable,
	}[f.Reason]
	if class == nil {
		class = errdefs.ErrFailedPrecondition
	}
	return &failure{f, class}
}

// failure is a protocol.Failure with its class.
type failure struct {
	*protocol.Failure
	class error
}

func (f *failure) Unwrap() []error { return []error{f.class, f.Failure} }

// process reads one from the words of an answer.
func (c *Conn) process(words []string, err error) (Process, error) {
	if err != nil {
		return Process{}, err
	}
	p, err := protocol.ProcessOf(words)
	if err != nil {
		return p, c.nonsense(err)
	}
	return p, nil
}

// Start starts a process that lives on when nobody follows it. One that is started only after ctx ended is killed.
func (c *Conn) Start(ctx context.Context, command Command) (Process, error) {
	command.Follow = false
	p, _, err := c.start(ctx, command)
	return p, err
}

// Get returns a process that was started by Start: those that ended, too, until many others have.
func (c *Conn) Get(ctx context.Context, pid int) (Process, error) {
	return c.process(c.ask(ctx, protocol.Get, protocol.Numbers(int64(pid))))
}

// List returns all processes of the sandbox but process 1.
func (c *Conn) List(ctx context.Context) ([]Process, error) {
	all, err := c.ask(ctx, protocol.List, nil)
	if err != nil {
		return nil, err
	}
	list := make([]Process, 0, len(all))
	for _, one := range all {
		p, err := c.process(protocol.SplitWords([]byte(one)))
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// Keep gives the sandbox something for the environment of what is started, as KEY=VALUE, of MaxGiven bytes at most. A sandbox that is paused takes
// and answers it as it wakes.
func (c *Conn) Keep(ctx context.Context, env []string) error {
	_, err := c.ask(ctx, protocol.Keep, protocol.Words(env))
	return err
}

// Kept returns what claims gave the sandbox for the environment of what is started, as KEY=VALUE.
func (c *Conn) Kept(ctx context.Context) ([]string, error) { return c.ask(ctx, protocol.Kept, nil) }

// Own has process 1 kill the session of a process that another started when the connection ends, as it does when this program is killed.
func (c *Conn) Own(pid int) error {
	c.mu.Lock()
	c.last++ // a stream that nobody listens to: process 1 of an earlier release answers that it knows no such request
	stream := c.last
	c.mu.Unlock()
	return c.send(protocol.Frame{Kind: protocol.Own, Stream: stream, Payload: protocol.Numbers(int64(pid))})
}

// Signal signals a process: the group of one that was started by Start, or it alone if the signal is none for groups, and with SIGKILL all of its
// session.
func (c *Conn) Signal(ctx context.Context, pid int, signal syscall.Signal) error {
	_, err := c.ask(ctx, protocol.Signal, protocol.Numbers(int64(pid), int64(signal)))
	return err
}

// Resize tells a process how large its terminal is.
func (c *Conn) Resize(ctx context.Context, pid int, rows, cols uint16) error {
	_, err := c.ask(ctx, protocol.Resize, protocol.Numbers(int64(pid), int64(rows), int64(cols)))
	return err
}

// Input gives a process input, of any size, and returns once it has been taken.
func (c *Conn) Input(ctx context.Context, pid int, data []byte) error {
	for len(data) > 0 {
		n := min(len(data), protocol.MaxData)
		if err := c.feed(ctx, pid, data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// EndInput ends a process's input. To a terminal it sends the end-of-file character.
func (c *Conn) EndInput(ctx context.Context, pid int) error { return c.feed(ctx, pid, nil) }

// feed gives a process input after those before it have.
func (c *Conn) feed(ctx context.Context, pid int, data []byte) error {
	turn := c.feeding[uint(pid)%uint(len(c.feeding))]
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-c.lost:
		return ErrLost
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	_, err := c.ask(ctx, protocol.Input, append(binary.BigEndian.AppendUint32(nil, uint32(pid)), data...)) //nolint:gosec // a process id fits
	c.step("input taken")
	return err
}
