package supervise

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"time"

	"sandpool/runtime/supervisor/protocol"
)

const (
	maxAnswers   = 64  // requests that are answered at once
	maxFollowers = 256 // of all processes
)

// link is a connection to the daemon.
type link struct {
	supervisor *Supervisor
	in, out    *os.File
	answers    chan struct{}

	sending sync.Mutex

	mu       sync.Mutex
	closed   bool
	followed map[uint32]*follower
	owned    owned
}

// follower reads the output of a process. Its fields are its process's ring to guard.
type follower struct {
	of      *supervised
	allowed int  // what chunks may cost
	holds   bool // the process is its client's, and ends with it
	left    bool
}

// patient is a pipe that is read without deadlines.
type patient struct{ *os.File }

func (patient) SetReadDeadline(time.Time) error { return nil }

// Serve answers the daemon until the connection ends. in is a pipe that blocks: gVisor wakes who waits in a read after a restore, and for what it took out
// of the pipe at a checkpoint, but nobody who waits for the pipe to become readable.
func (s *Supervisor) Serve(in, out *os.File) {
	l := &link{supervisor: s, in: in, out: out, answers: make(chan struct{}, maxAnswers), followed: map[uint32]*follower{}}
	s.mu.Lock()
	before := s.link
	s.link = l
	s.mu.Unlock()
	if before != nil {
		before.close()
	}
	l.send(protocol.Frame{Kind: protocol.Hello, Payload: []byte(protocol.Version)})
	for frames := protocol.NewReader(patient{in}); ; {
		frame, err := frames.Next()
		if err != nil {
			l.close()
			return
		}
		l.handle(frame)
	}
}

// close ends the connection, and with it what clients wait for. Other processes live on.
func (l *link) close() {
	l.mu.Lock()
	followed, owned := l.followed, l.owned
	l.closed, l.followed, l.owned = true, nil, nil
	l.mu.Unlock()
	_, _ = l.in.Close(), l.out.Close()
	for _, f := range followed {
		l.leave(f)
	}
	go owned.end(l.supervisor.end)
}

// leave ends a follower, and the process if that is its client's.
func (l *link) leave(f *follower) {
	if ended := f.leave(); f.holds {
		go l.supervisor.leave(f.of, ended)
	}
}

func (f *follower) leave() (ended bool) {
	f.of.out.mu.Lock()
	defer f.of.out.mu.Unlock()
	f.left = true
	if f.holds {
		f.of.out.held = released
	}
	f.of.out.changed.Broadcast()
	return f.of.ended
}

// send sends a frame whole, or ends the connection.
func (l *link) send(f protocol.Frame) {
	data, err := f.Encode()
	if err != nil {
		data, _ = protocol.Frame{Kind: protocol.Failed, Stream: f.Stream, Payload: failure(err).Encode()}.Encode()
	}
	l.sending.Lock()
	_ = l.out.SetWriteDeadline(time.Now().Add(protocol.FrameTime))
	_, err = l.out.Write(data)
	l.sending.Unlock()
	if err != nil {
		_, _ = l.in.Close(), l.out.Close() // so the daemon leaves, which ends serve
	}
}

func failure(err error) *protocol.Failure {
	if f, ok := errors.AsType[*protocol.Failure](err); ok {
		return f
	}
	return &protocol.Failure{Reason: protocol.Broken, Text: err.Error()}
}

// handle acts on a frame, without waiting for anything that the sandbox does.
func (l *link) handle(f protocol.Frame) {
	switch f.Kind {
	case protocol.Leave, protocol.Grant:
		l.mu.Lock()
		follower := l.followed[f.Stream]
		l.mu.Unlock()
		switch {
		case follower == nil: // it has ended
		case f.Kind == protocol.Leave:
			l.leave(follower)
		case len(f.Payload) == 4:
			follower.grant(int(binary.BigEndian.Uint32(f.Payload)))
		}
		return
	case protocol.Follow:
		l.begin(f, l.follow)
	case protocol.Own:
		l.own(f.Payload)
	default:
		if l.atOnce(f) {
			l.begin(f, l.answer)
			return
		}
		select {
		case l.answers <- struct{}{}:
			go func() {
				defer func() { <-l.answers }()
				l.begin(f, l.answer)
			}()
		default:
			l.fail(f.Stream, &protocol.Failure{Reason: protocol.NoRoom, Text: "the sandbox has too many requests at once: try again"})
		}
	}
}

// atOnce tells whether a request is answered before the next is read, rather than after another thread has been woken: all that it waits for is the
// sandbox's kernel, and who starts a process holds up all others in any case.
func (l *link) atOnce(f protocol.Frame) bool {
	switch f.Kind {
	case protocol.Start, protocol.StartLimited, protocol.Get, protocol.Kept, protocol.Keep:
		return true
	case protocol.Input:
		if len(f.Payload) != 4 {
			return false
		}
		p, err := l.supervisor.find(int64(binary.BigEndian.Uint32(f.Payload))) // the end of its input
		return err == nil && !p.command.TTY
	default:
		return false
	}
}

func (f *follower) grant(more int) {
	f.of.out.mu.Lock()
	defer f.of.out.mu.Unlock()
	f.allowed = min(f.allowed+more, protocol.Window)
	f.of.out.changed.Broadcast()
}

// begin has a request answered, or says why it is not.
func (l *link) begin(f protocol.Frame, do func(protocol.Frame) error) {
	if err := do(f); err != nil {
		l.fail(f.Stream, err)
	}
}

func (l *link) fail(stream uint32, err error) {
	l.send(protocol.Frame{Kind: protocol.Failed, Stream: stream, Payload: failure(err).Encode()})
}

func (l *link) reply(stream uint32, words ...string) {
	l.send(protocol.Frame{Kind: protocol.Reply, Stream: stream, Payload: protocol.Words(words)})
}

// answer answers a request.
func (l *link) answer(f protocol.Frame) error {
	switch f.Kind {
	case protocol.Start, protocol.StartLimited:
		return l.start(f)
	case protocol.List:
		list, err := l.supervisor.list()
		if err != nil {
			return err
		}
		var words []string
		for _, p := range list {
			words = append(words, string(protocol.Words(p.Words())))
		}
		l.reply(f.Stream, words...)
		return nil
	case protocol.Input:
		return l.input(f)
	case protocol.Kept:
		l.supervisor.mu.Lock()
		kept := l.supervisor.kept
		l.supervisor.mu.Unlock()
		l.reply(f.Stream, kept...)
		return nil
	case protocol.Keep:
		return l.keep(f)
	case protocol.Get, protocol.Signal, protocol.Resize:
		return l.ask(f)
	default:
		return &protocol.Failure{Reason: protocol.Refused, Text: "the init knows no such request"}
	}
}

func (l *link) start(f protocol.Frame) error {
	words, err := protocol.SplitWords(f.Payload)
	if err != nil {
		return err
	}
	command, err := protocol.StartOf(f.Kind, words)
	if err != nil {
		return err
	}
	p, err := l.supervisor.start(command)
	if err != nil {
		return err
	}
	l.reply(f.Stream, p.describe().Words()...)
	if command.Follow {
		err = l.attach(f.Stream, p, 0, true)
	}
	return err
}

func (l *link) keep(f protocol.Frame) error {
	words, err := protocol.SplitWords(f.Payload)
	if err == nil {
		err = l.supervisor.keep(words)
	}
	if err == nil {
		l.reply(f.Stream)
	}
	return err
}

func (l *link) input(f protocol.Frame) error {
	if len(f.Payload) < 4 {
		return &protocol.Failure{Reason: protocol.Refused, Text: "input for no process"}
	}
	p, err := l.supervisor.find(int64(binary.BigEndian.Uint32(f.Payload)))
	if err == nil {
		err = p.feed(f.Payload[4:])
	}
	if err == nil {
		l.reply(f.Stream)
	}
	return err
}

// ask answers a request that consists of numbers, the first of which is a process.
func (l *link) ask(f protocol.Frame) error {
	asked, err := protocol.Asked(f.Payload, map[protocol.Kind]int{protocol.Get: 1, protocol.Signal: 2, protocol.Resize: 3}[f.Kind])
	if err != nil {
		return err
	}
	if f.Kind == protocol.Signal {
		err := l.supervisor.signal(asked[0], asked[1])
		if err == nil {
			l.reply(f.Stream)
		}
		return err
	}
	p, err := l.supervisor.find(asked[0])
	switch {
	case err != nil:
	case f.Kind == protocol.Get:
		l.reply(f.Stream, p.inspect().Words()...)
		return nil
	case !p.command.TTY:
		err = &protocol.Failure{Reason: protocol.Refused, Text: "the process has no terminal"}
	default:
		err = resizeTerminal(p.stdin, uint16(min(asked[1], 1<<16-1)), uint16(min(asked[2], 1<<16-1))) //nolint:gosec // bounded
	}
	if err == nil {
		l.reply(f.Stream)
	}
	return err
}

// follow sends output of a process from a position on, until the process has ended.
func (l *link) follow(f protocol.Frame) error {
	asked, err := protocol.Asked(f.Payload, 2)
	if err != nil {
		return err
	}
	p, err := l.supervisor.find(asked[0])
	if err != nil {
		return err
	}
	return l.attach(f.Stream, p, asked[1], false)
}

// attach begins to send the output of a process from a position on. Who holds it keeps the process from writing more than is kept.
func (l *link) attach(stream uint32, p *supervised, from int64, holds bool) error {
	follower := &follower{of: p, allowed: protocol.Window, holds: holds}
	err := l.admit(stream, follower)
	if err != nil {
		l.leave(follower)
		return err
	}
	go l.run(stream, follower, from)
	return nil
}

func (l *link) admit(stream uint32, f *follower) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return os.ErrClosed
	case len(l.followed) >= maxFollowers:
		return &protocol.Failure{Reason: protocol.NoRoom, Text: "too many read the output of the sandbox's processes"}
	case l.followed[stream] != nil:
		return &protocol.Failure{Reason: protocol.Refused, Text: "the stream is another's"}
	}
	l.followed[stream] = f
	return nil
}

func (l *link) run(stream uint32, f *follower, at int64) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.followed[stream] == f {
			delete(l.followed, stream)
		}
	}()
	for {
		chunk, left := f.next(at)
		switch {
		case left:
			return
		case len(chunk.Data) == 0:
			l.leave(f)
			l.send(protocol.Frame{Kind: protocol.End, Stream: stream, Payload: protocol.Words(f.of.describe().Words())})
			return
		}
		at = chunk.Position + int64(len(chunk.Data))
		l.send(protocol.Frame{Kind: protocol.Output, Stream: stream, Payload: chunk.Encode()})
	}
}

// next waits for output that may be sent. It returns none at the end.
func (f *follower) next(at int64) (chunk protocol.Chunk, left bool) {
	out := f.of.out
	out.mu.Lock()
	defer out.mu.Unlock()
	for !f.left {
		if most := min(f.allowed-protocol.ChunkCost, protocol.MaxData); most > 0 {
			chunk := out.readLocked(at, most)
			if len(chunk.Data) > 0 || out.over {
				f.allowed -= chunk.Cost()
				if f.holds {
					out.held = chunk.Position + int64(len(chunk.Data))
					out.changed.Broadcast()
				}
				return chunk, false
			}
		}
		out.changed.Wait()
	}
	return protocol.Chunk{}, true
}
