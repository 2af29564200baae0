package command

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sandpool/lifetime/wait"
)

const (
	// drainTime is how long a process that has ended may keep its caller: the output of its children is dropped from then on.
	drainTime  = 2 * time.Second
	drainTicks = 20 // looks in that time
	// drainBytes is more than all pipes on the way hold. What comes after that much is not the ended process's own.
	drainBytes = 512 << 10
	// keptLeftovers is how many ended processes of one sandbox may have children whose output is drained. The oldest loses it.
	keptLeftovers = 32
	// dropBytes of output are dropped in each dropPause at most, by all leftovers together.
	dropBytes = 1 << 20
	dropPause = 20 * time.Millisecond
)

// outputs are where a process writes. Its children may go on writing when their caller has gone: that is dropped.
type outputs struct {
	dropping atomic.Bool
	writing  atomic.Int32 // writes under way
	written  atomic.Int64 // bytes
	pace     *pacer
}

// to is a writer that passes output on to w.
func (o *outputs) to(w io.Writer) io.Writer { return outputWriter{w, o} }

// drop drops all that comes, and returns when nothing is written any more.
func (o *outputs) drop() {
	for o.dropping.Store(true); o.writing.Load() > 0; {
		time.Sleep(wait.Interval)
	}
}

type outputWriter struct {
	w io.Writer
	o *outputs
}

// Write never fails: when nobody is there any more to read the output, it is dropped.
func (w outputWriter) Write(b []byte) (int, error) {
	if !w.pass(b) {
		w.o.pace.spend(len(b))
	}
	return len(b), nil
}

// pass passes output on unless it is to be dropped.
func (w outputWriter) pass(b []byte) bool {
	w.o.writing.Add(1) // before the look, so that drop does not miss it
	defer w.o.writing.Add(-1)
	if w.o.dropping.Load() {
		return false
	}
	if _, err := w.w.Write(b); err != nil {
		w.o.dropping.Store(true)
	}
	w.o.written.Add(int64(len(b)))
	return true
}

// flowed is closed once all output has been read.
func (p *Process) flowed() <-chan struct{} {
	done, out := make(chan struct{}), p.streams()
	if out == nil {
		close(done)
		return done
	}
	p.in.starter.work.Go(func() {
		out.Wait()
		close(done)
	})
	return done
}

// drain waits until the output has ended, and returns whether it has. It gives up after drainTime, not counting the time in which
// the ended process's own output waits for its reader.
func (p *Process) drain(flowed <-chan struct{}) bool {
	tick := time.NewTicker(drainTime / drainTicks)
	defer tick.Stop()
	before := p.output.written.Load()
	for free := 0; free < drainTicks; {
		select {
		case <-flowed:
			return true
		case <-tick.C:
		}
		if p.output.writing.Load() == 0 || p.output.written.Load()-before > drainBytes {
			free++
		}
	}
	return false
}

// leftovers are the ended processes whose children still have their output. It is read and dropped: else they would come to a stand,
// or end by a broken pipe. All of them cost the engine a bounded share of a processor and of its files.
type leftovers struct {
	pace pacer
	mu   sync.Mutex
	of   map[string][]*Process // by sandbox, the oldest first
	shut bool
}

// keep drains a process's output until it ends, and then forgets the process.
func (l *leftovers) keep(p *Process, flowed <-chan struct{}) {
	l.add(p)
	p.in.starter.work.Go(func() {
		<-flowed
		if l.remove(p) {
			p.discard(context.Background())
		}
	})
}

func (l *leftovers) add(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append(l.of[p.in.ID], p)
	if len(all) > keptLeftovers {
		all[0].close()
		all = all[1:]
	}
	l.of[p.in.ID] = all
	if l.shut {
		l.closeLocked()
	}
}

// remove returns whether the process was still kept.
func (l *leftovers) remove(p *Process) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.of[p.in.ID], p)
	if i < 0 {
		return false
	}
	l.of[p.in.ID] = slices.Delete(l.of[p.in.ID], i, i+1)
	if len(l.of[p.in.ID]) == 0 {
		delete(l.of, p.in.ID)
	}
	return true
}

// close closes all outputs, now and from now on.
func (l *leftovers) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	l.closeLocked()
}

func (l *leftovers) closeLocked() {
	for _, all := range l.of {
		for _, p := range all {
			p.close()
		}
	}
	clear(l.of)
}

// pacer keeps the rate down at which output is dropped.
type pacer struct {
	mu    sync.Mutex
	spent int
}

func (p *pacer) spend(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spent += n; p.spent >= dropBytes {
		p.spent = 0
		time.Sleep(dropPause)
	}
}
