// Package events keeps the log of what happened to claims: in memory for its readers, and on disk for the daemon's next run.
package events

import (
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
	kept    []wire.Event // with consecutive numbers; those before segment are in the file "previous", the others in "current"
	segment int
	last    uint64        // number of the newest event; 0 when there never was one
	more    chan struct{} // closed by the next Append; nil: nobody waits
	disk    disk
}

// Open opens the log in dir, which it makes if it has to. Between keep and 2*keep of the newest events are kept, in memory and
// in two files of dir. What a crash left half written is cut off. One process at a time may use dir.
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
// Should events behind the cursor be lost, the first one returned is of KindGap, and all those that are kept follow. A text that
// is no cursor is an InvalidArgument.
func (l *Log) After(after string) (list []wire.Event, more <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next, gap, err := l.findLocked(after)
	if err != nil {
		return nil, nil, err
	}
	list = append(list, gap...)
	list = append(list, l.kept[next:min(len(l.kept), next+batch)]...)
	if l.more == nil {
		l.more = make(chan struct{})
	}
	return list, l.more, nil
}

// findLocked returns the index in kept of the first event behind a cursor, and an event that tells of lost ones if there are.
func (l *Log) findLocked(after string) (next int, gap []wire.Event, err error) {
	if after == "" || after == l.startLocked() {
		return 0, nil, nil
	}
	run, number, err := parseCursor(after)
	if err != nil {
		return 0, nil, err
	}
	first := l.firstLocked()
	if number >= first && number <= l.last {
		if i := int(number - first); l.kept[i].Cursor == after { //nolint:gosec // an index of kept fits
			return i + 1, nil, nil
		}
	}
	gapped := wire.Event{Cursor: l.startLocked(), Time: time.Now().UTC(), Kind: KindGap}
	if number < first && strings.HasPrefix(l.startLocked(), run) { // the run's events had consecutive numbers
		missed := strconv.FormatUint(first-1-number, 10)
		gapped.Message, gapped.Detail = "events that are not kept any more: "+missed, map[string]string{"missed": missed}
	} else {
		gapped.Message = "the log does not know this cursor: events may be missing, and others may come again"
	}
	return 0, []wire.Event{gapped}, nil
}

// firstLocked is the number of the oldest event that is kept, or of the next one when none is.
func (l *Log) firstLocked() uint64 { return l.last + 1 - uint64(len(l.kept)) }

// startLocked is the cursor before the oldest event that is kept.
func (l *Log) startLocked() string {
	run := l.run
	if len(l.kept) > 0 {
		run = l.kept[0].Cursor[:runLength]
	}
	return cursor(run, l.firstLocked()-1)
}

// rotateLocked makes place for new events: those of the older file are forgotten.
func (l *Log) rotateLocked() {
	l.kept = slices.Clone(l.kept[l.segment:])
	l.segment = len(l.kept)
	if !l.disk.failing {
		l.noteLocked(l.shiftLocked())
	}
}
