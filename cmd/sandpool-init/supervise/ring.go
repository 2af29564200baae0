package supervise

import (
	"math"
	"sort"
	"sync"

	"sandpool/runtime/supervisor/protocol"
)

const (
	keptOutput = 1 << 20  // bytes of each process, at least
	keptPieces = 4 << 10  // of each process, at most: else single bytes of two streams by turns would cost their weight many times over
	pieceSize  = 16 << 10 // to which what one stream writes is put together
)

// ring keeps the last output of a process. Who writes waits for the reader that holds it, if one does, and for no other.
type ring struct {
	mu      sync.Mutex
	changed *sync.Cond // output, its end, or what a reader waits for otherwise
	pieces  []protocol.Chunk
	next    int64 // the position of what comes
	size    int
	writers int   // streams that are not at their end
	held    int64 // how far the one who holds it has read; released if nobody does
	over    bool  // the process has ended, and so has its own output
}

// released is where a ring is read that nobody holds.
const released = math.MaxInt64

func newRing() *ring {
	r := &ring{held: released}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// add keeps output, and drops the oldest in exchange, which who holds the ring has read.
func (r *ring) add(from byte, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.trimLocked(); r.fullLocked(); r.trimLocked() {
		r.changed.Wait()
	}
	last := len(r.pieces) - 1
	if last >= 0 && r.pieces[last].From == from && len(r.pieces[last].Data)+len(data) <= pieceSize {
		r.pieces[last].Data = append(r.pieces[last].Data, data...)
	} else {
		r.pieces = append(r.pieces, protocol.Chunk{Position: r.next, From: from, Data: append([]byte(nil), data...)})
	}
	r.next += int64(len(data))
	r.size += len(data)
	r.changed.Broadcast()
}

// trimLocked drops the oldest output that is too much, unless who holds the ring has yet to read it.
func (r *ring) trimLocked() {
	for len(r.pieces) > 0 && (r.size-len(r.pieces[0].Data) >= keptOutput || len(r.pieces) > keptPieces) {
		if r.pieces[0].Position+int64(len(r.pieces[0].Data)) > r.held {
			return
		}
		r.size -= len(r.pieces[0].Data)
		r.pieces[0].Data = nil
		r.pieces = r.pieces[1:]
	}
}

// fullLocked tells whether who holds the ring has to read before there is room.
func (r *ring) fullLocked() bool {
	return r.held != released && (r.next-r.held >= keptOutput || len(r.pieces) > 2*keptPieces)
}

// firstLocked is the position of the oldest output that is kept.
func (r *ring) firstLocked() int64 {
	if len(r.pieces) == 0 {
		return r.next
	}
	return r.pieces[0].Position
}

// readLocked returns at most that much of the output from a position on, none when there is no more.
func (r *ring) readLocked(at int64, most int) protocol.Chunk {
	i := sort.Search(len(r.pieces), func(i int) bool { return r.pieces[i].Position+int64(len(r.pieces[i].Data)) > at })
	if i == len(r.pieces) {
		return protocol.Chunk{}
	}
	piece := r.pieces[i]
	at = max(at, piece.Position)
	data := piece.Data[at-piece.Position:]
	return protocol.Chunk{Position: at, From: piece.From, Data: append([]byte(nil), data[:min(len(data), most)]...)}
}
