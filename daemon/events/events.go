// Package events keeps the log of what happened to claims: in memory for its readers, and on disk for the daemon's next run.
package events

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/hostpath"
)

// KindGap is the kind of the event that stands for events which a reader missed and cannot get any more.
const KindGap = "gap"

// batch is the most events that After returns at once.
const batch = 256

// Log is the log. Make one with Open; all methods may be called at once.
//
// Events are numbered one after the other, over all runs of the daemon. A cursor is the number of an event and the name of the
// run that wrote it, since the numbers of events that a crash lost are given again.
type Log struct {
	dir  string
	keep int
	log  *slog.Logger
	run  string // the name of this run, random

	mu      sync.Mutex
	kept    []wire.Event // in the order of their numbers; those before segment are in the file "previous", the others in "current"
	segment int
	last    uint64        // number of the newest event; 0 when there never was one
	more    chan struct{} // closed by the next Append; nil: nobody waits
	disk    disk
}

// Open opens the log in dir, which it makes if it has to. Between keep and 2*keep events are kept, in memory and in two files of dir,
// and of each owner at least an equal part of keep, the newest. What a crash left half written is cut off. One process at a time may
// use dir.
func Open(dir string, keep int, log *slog.Logger) (*Log, error) {
	if keep < 1 {
		return nil, errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("open events: keep %d: want at least 1", keep))
	}
	l := &Log{dir: dir, keep: keep, log: log, run: strings.ToLower(rand.Text()[:runLength])}
	if err := hostpath.MakeFolder(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for events: %w", err)
	}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("open events: %w", err)
	}
	return l, nil
}

// Close closes the files, and tries a last time to write what could not be written before. Call it when nobody appends any more.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.disk.failing {
		err = l.rewriteLocked()
	}
	if err = errors.Join(err, l.disk.file.Close()); err != nil {
		return fmt.Errorf("close events: %w", err)
	}
	return nil
}

// Append adds an event and returns it with its cursor and, unless it had one, its time. It waits for no reader. A disk that
// fails is logged, and the event is kept in memory. The event's Detail must not be changed afterwards.
func (l *Log) Append(e wire.Event) wire.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept)-l.segment >= l.keep {
		l.rotateLocked()
	}
	l.last++
	e.Cursor = cursor(l.run, l.last)
	if e.Time.IsZero() {
		e.Time = time.Now().UTC().Round(0) // as it will be read from disk
	}
	l.kept = append(l.kept, e)
	l.storeLocked(e)
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return e
}

// Last returns the cursor of the newest event: After that come those from now on.
func (l *Log) Last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) == 0 {
		return l.startLocked()
	}
	return l.kept[len(l.kept)-1].Cursor
}

// After returns the next events behind a cursor, oldest first, but not more than a few hundred at once. The empty cursor is
// before the oldest event that is kept. When there are none, more is closed once there are.
//
// Where events behind the cursor are lost, one of KindGap stands for those of its owner. If nobody knows which are, the first one returned
// is a gap of Everybody's, and all that are kept follow. A text that is no cursor is an InvalidArgument.
func (l *Log) After(after string) (list []wire.Event, more <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	number, next, whole, err := l.findLocked(after)
	if err != nil {
		return nil, nil, err
	}
	if whole && after != "" {
		gap := gapAt(l.startLocked(), Everybody, time.Now().UTC())
		gap.Message = "the log does not know this cursor: events may be missing, and others may come again"
		list = append(list, gap)
	}
	for i, e := range l.kept[next:] {
		switch {
		case len(list) >= batch:
			return list, l.moreLocked(), nil
		case e.Kind != KindGap:
			list = append(list, e)
		case !whole: // who begins at the start misses nothing
			list = append(list, l.tellGapLocked(e, number, next, next+i))
		}
	}
	return list, l.moreLocked(), nil
}

func (l *Log) moreLocked() <-chan struct{} {
	if l.more == nil {
		l.more = make(chan struct{})
	}
	return l.more
}

// findLocked returns the number of a cursor and the index in kept of the first event behind it. If the log does not know the cursor, or
// it is empty, whole is true: all that are kept are behind it.
func (l *Log) findLocked(after string) (number uint64, next int, whole bool, err error) {
	if after == "" {
		return 0, 0, true, nil
	}
	run, number, err := parseCursor(after)
	if err != nil {
		return 0, 0, false, err
	}
	next, found := slices.BinarySearchFunc(l.kept, number, func(e wire.Event, n uint64) int { return cmp.Compare(numberOf(e), n) })
	switch {
	case found && l.kept[next].Cursor == after:
		return number, next + 1, false, nil
	case !found && next < len(l.kept) && strings.HasPrefix(l.kept[next].Cursor, run): // a run's events have consecutive numbers
		return number, next, false, nil
	case len(l.kept) == 0 && after == l.startLocked():
		return number, 0, false, nil
	default:
		return 0, 0, true, nil
	}
}

// tellGapLocked completes a gap, kept[at], for a reader who has all events up to a number and goes on at kept[next].
func (l *Log) tellGapLocked(gap wire.Event, number uint64, next, at int) wire.Event {
	missed := numberOf(gap) - number
	for _, e := range l.kept[next:at] {
		if e.Kind != KindGap {
			missed--
		}
	}
	gap.Message = fmt.Sprintf("events that are not kept any more: at most %d", missed)
	gap.Detail = map[string]string{"missed": strconv.FormatUint(missed, 10)}
	return gap
}

// startLocked is a cursor before the oldest event that is kept.
func (l *Log) startLocked() string {
	switch {
	case len(l.kept) == 0:
		return cursor(l.run, l.last)
	case l.kept[0].Kind == KindGap:
		return l.kept[0].Cursor
	default:
		return cursor(l.kept[0].Cursor[:runLength], numberOf(l.kept[0])-1)
	}
}

// rotateLocked makes place for new events: what is over the shares of their owners is forgotten.
func (l *Log) rotateLocked() {
	l.kept = trim(l.kept, l.keep, time.Now().UTC().Round(0))
	l.segment = len(l.kept)
	if !l.disk.failing {
		l.noteLocked(l.rewriteLocked())
	}
}
