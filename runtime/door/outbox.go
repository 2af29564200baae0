package door

import (
	"os"
	"sync"
)

// outbox is what is to be sent. One goroutine writes it, all that there is at a time in one call, so that nobody else waits for a pipe.
type outbox struct {
	turn chan struct{} // held by who appends data: those who want to take turns
	wake chan struct{} // there is something to send
	room chan struct{} // what there was is being sent

	mu      sync.Mutex
	pending *block
	more    []byte // behind pending: few large messages
	queued  int64  // bytes, of all times
	written int64
	marks   []mark
	ended   bool
}

// mark is to be told when all before it has been sent.
type mark struct {
	at   int64
	tell func()
}

func newOutbox() *outbox {
	return &outbox{turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// poke wakes who waits on a channel with room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// push appends a frame without waiting. What is pushed has bounds: see after.
func (o *outbox) push(h head, parts ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h.size = 0
	for _, p := range parts {
		h.size += len(p)
	}
	var room [headSize]byte
	o.append(appendHead(room[:0], h))
	for _, p := range parts {
		o.append(p)
	}
	poke(o.wake)
}

func (o *outbox) append(b []byte) {
	if o.ended {
		return
	}
	o.queued += int64(len(b))
	if o.pending == nil {
		o.pending = newBlock(smallSize)
	}
	if small := o.pending; small.to+len(b) > len(small.data) && len(small.data) == smallSize {
		o.pending = newBlock(batchSize)
		o.pending.to = copy(o.pending.data, small.bytes())
		small.free()
	}
	if len(o.more) == 0 {
		n := copy(o.pending.data[o.pending.to:], b)
		o.pending.to += n
		b = b[n:]
	}
	o.more = append(o.more, b...)
}

// data appends as much of p as there is room for, which is none if there is little.
func (o *outbox) data(h head, p []byte) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	room := batchSize
	if o.pending != nil {
		room -= o.pending.to
	}
	h.size = min(len(p), maxData, room-headSize)
	if h.size <= 0 || h.size < len(p) && h.size < smallSize {
		return 0
	}
	var begin [headSize]byte
	o.append(appendHead(begin[:0], h))
	o.append(p[:h.size])
	poke(o.wake)
	return h.size
}

// after has tell called once all that was pushed has been sent. A stream holds its place until then, so that a peer which opens and resets
// streams and reads nothing has no more than its streams' worth of frames kept for it.
func (o *outbox) after(tell func()) {
	o.mu.Lock()
	if o.written < o.queued && !o.ended {
		o.marks = append(o.marks, mark{o.queued, tell})
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()
	tell()
}

// end drops what is to be sent.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.pending.free()
	o.pending, o.more, o.marks = nil, nil, nil
	poke(o.wake)
}

// take waits for something to send. ok is false at the end.
func (o *outbox) take() (b *block, more []byte, ok bool) {
	for {
		o.mu.Lock()
		b, more = o.pending, o.more
		o.pending, o.more = nil, nil
		ended := o.ended
		o.mu.Unlock()
		if b != nil || ended {
			poke(o.room)
			return b, more, !ended
		}
		<-o.wake
	}
}

// sent notes that so many bytes were, and tells those who wait for it.
func (o *outbox) sent(n int) {
	o.mu.Lock()
	o.written += int64(n)
	var due []mark
	for len(o.marks) > 0 && o.marks[0].at <= o.written {
		due, o.marks = append(due, o.marks[0]), o.marks[1:]
	}
	o.mu.Unlock()
	for _, m := range due {
		m.tell()
	}
}

// run sends what there is until the end.
func (o *outbox) run(to *os.File) error {
	for {
		b, more, ok := o.take()
		if !ok {
			b.free()
			return nil
		}
		err := writeAll(to, b.bytes(), more)
		n := b.to + len(more)
		b.free()
		if err != nil {
			return err
		}
		o.sent(n)
	}
}

func writeAll(to *os.File, parts ...[]byte) error {
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if _, err := to.Write(p); err != nil {
			return err
		}
	}
	return nil
}
