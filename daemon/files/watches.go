package files

import (
	"context"
	"io"
	"sync"
	"time"

	"sandpool/daemon/wire"
)

const (
	// KeptTime is how long a watch goes on without a client.
	KeptTime = 2 * time.Minute
	// keptAlone is how many watches of a claim go on without a client. The one that has been left for the longest ends first.
	keptAlone = 4
	// keptChanges is how much a watch keeps of what happened, in bytes of names with changeCost each.
	keptChanges = 256 << 10
	changeCost  = 100
)

// Watches are the watches of files in sandboxes, with and without a client. The zero value has none. Close must be called.
type Watches struct {
	mu      sync.Mutex // of all fields of all watches
	changed *sync.Cond // with mu; anything changed that somebody waits for
	all     map[string]*watched
	leaves  int // how often a client left a watch
	under   sync.WaitGroup
}

// watched is a watch, with the last that happened. It waits for its client to take that, if it has one, and for nobody else.
type watched struct {
	of             *Watches
	id             string
	claim, subject string
	end            context.CancelCauseFunc // of its process

	kept   []change
	first  int // the number of the oldest that is kept
	size   int // of kept, in bytes
	ended  bool
	err    error       // why it ended
	client *visit      // or nil
	left   int         // which of all leaves was that of its last client
	timer  *time.Timer // ends it then
}

// change is what happened to a file.
type change struct {
	kind    wire.FileEventKind
	name    string // any bytes
	folder  bool
	time    time.Time
	dropped int // of lost: how many changes were, if that is known
}

func (c change) cost() int { return changeCost + len(c.name) }

// visit is a client at a watch.
type visit struct {
	w  *watched
	at int // the number of the change that it gets next
}

// Close ends all watches, and returns when their processes have ended. There must be no clients any more.
func (ws *Watches) Close() {
	ws.mu.Lock()
	for _, w := range ws.all {
		ws.dropLocked(w)
	}
	ws.mu.Unlock()
	ws.under.Wait()
}

func (ws *Watches) enterLocked(w *watched) {
	if ws.all == nil {
		ws.all, ws.changed = map[string]*watched{}, sync.NewCond(&ws.mu)
	}
	ws.all[w.id] = w
	w.first = 1
}

// wake has all who wait look again.
func (ws *Watches) wake() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.changed.Broadcast()
}

// dropLocked ends a watch, and forgets it.
func (ws *Watches) dropLocked(w *watched) {
	delete(ws.all, w.id)
	w.stopTimerLocked()
	w.end(nil)
	ws.changed.Broadcast()
}

func (w *watched) stopTimerLocked() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// nextLocked is the number of the change that comes next.
func (w *watched) nextLocked() int { return w.first + len(w.kept) }

// add keeps a change, once there is room for it.
func (w *watched) add(c change) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	for w.trimLocked(c.cost()); w.size+c.cost() > keptChanges && w.client != nil; w.trimLocked(c.cost()) {
		w.of.changed.Wait()
	}
	w.addLocked(c)
}

func (w *watched) addLocked(c change) {
	w.kept = append(w.kept, c)
	w.size += c.cost()
	w.of.changed.Broadcast()
}

// trimLocked drops the oldest changes until there is room, but none that a client has yet to get.
func (w *watched) trimLocked(room int) {
	for w.size+room > keptChanges && len(w.kept) > 0 && (w.client == nil || w.first < w.client.at) {
		w.size -= w.kept[0].cost()
		w.kept[0] = change{}
		w.kept = w.kept[1:]
		w.first++
	}
}

// over notes the end of a watch's process. Of one that failed nobody knows what it missed, so it is forgotten.
func (w *watched) over(err error) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.ended, w.err = true, err
	if err != nil {
		w.of.dropLocked(w)
	}
	w.of.changed.Broadcast()
}

// attachLocked gives the watch a client, in place of another.
func (w *watched) attachLocked(at int) *visit {
	w.stopTimerLocked()
	w.client = &visit{w, at}
	w.of.changed.Broadcast()
	return w.client
}

// next waits for the next change. There are no more at io.EOF.
func (v *visit) next(ctx context.Context) (c change, number int, err error) {
	w := v.w
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	for {
		switch {
		case w.client != v:
			return change{}, 0, errTaken
		case context.Cause(ctx) != nil:
			return change{}, 0, context.Cause(ctx)
		case v.at < w.first:
			c = change{kind: wire.FileLost, name: ".", time: time.Now(), dropped: w.first - v.at}
			v.at = w.first
			return c, w.first - 1, nil
		case v.at < w.nextLocked():
			v.at++
			w.of.changed.Broadcast()
			return w.kept[v.at-1-w.first], v.at - 1, nil
		case w.ended && w.err != nil:
			return change{}, 0, w.err
		case w.ended:
			return change{}, 0, io.EOF
		}
		w.of.changed.Wait()
	}
}

// leave lets the watch go on alone for a while, unless it has another client.
func (v *visit) leave() {
	w := v.w
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	if w.client != v {
		return
	}
	w.of.leaves++
	w.client, w.left = nil, w.of.leaves
	switch {
	case w.of.all[w.id] != w: // it has failed
	case w.ended && v.at == w.nextLocked():
		w.of.dropLocked(w)
	default:
		left := w.left
		w.timer = time.AfterFunc(KeptTime, func() { w.expire(left) })
		w.of.boundLocked(w.claim)
	}
	w.of.changed.Broadcast()
}

// expire ends the watch if it has had no client since.
func (w *watched) expire(left int) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	if w.client == nil && w.left == left {
		w.of.dropLocked(w)
	}
}

// boundLocked ends watches of a claim that are too many without a client.
func (ws *Watches) boundLocked(claim string) {
	var oldest *watched
	alone := 0
	for _, w := range ws.all {
		if w.claim != claim || w.client != nil {
			continue
		}
		alone++
		if oldest == nil || w.left < oldest.left {
			oldest = w
		}
	}
	if alone > keptAlone {
		ws.dropLocked(oldest)
	}
}
