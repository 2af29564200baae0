package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/atomicfile"
	"sandpool/runtime/hostpath"
)

// The files in the log's folder: one event a line, as JSON.
const (
	current  = "events.ndjson"
	previous = "events.1.ndjson"
)

// retryAfter is how long a disk that failed is left alone.
const retryAfter = time.Second

// disk is the state of the log's files.
type disk struct {
	file    *os.File // "current", for appending
	failing bool     // the files lack events
	retry   time.Time
}

// load reads the files and opens the current one.
func (l *Log) load() error {
	older, err := l.readSegment(filepath.Join(l.dir, previous))
	if err != nil {
		return err
	}
	newer, err := l.readSegment(filepath.Join(l.dir, current))
	if err != nil {
		return err
	}
	known := max(lastGap(older), lastGap(newer))
	l.takeLocked(older, known)
	l.segment = len(l.kept)
	l.takeLocked(newer, known)
	return l.reopenLocked()
}

// lastGap is the number of the newest gap in a list, or 0.
func lastGap(list []wire.Event) (last uint64) {
	for _, e := range list {
		if e.Kind == KindGap {
			last = max(last, numberOf(e))
		}
	}
	return last
}

// readSegment reads one file and cuts off what was half written. Where a line cannot be read there is the zero event.
func (l *Log) readSegment(path string) (list []wire.Event, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole < len(data) {
		l.log.Warn("event that was half written is cut off", "file", path, "bytes", len(data)-whole)
		if err := os.Truncate(path, int64(whole)); err != nil {
			return nil, err
		}
	}
	damaged := 0
	for line := range bytes.Lines(data[:whole]) {
		e, err := readEvent(line)
		if err != nil {
			damaged++
		}
		list = append(list, e)
	}
	if damaged > 0 {
		l.log.Warn("damaged events are left out", "file", path, "lines", damaged)
	}
	return list, nil
}

// readEvent returns the event of a line, or the zero event and why it is none.
func readEvent(line []byte) (wire.Event, error) {
	var e wire.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return wire.Event{}, err
	}
	_, number, err := parseCursor(e.Cursor)
	if err == nil && (number == 0 || number > maxNumber) {
		err = fmt.Errorf("number %d cannot be", number)
	}
	if err != nil {
		return wire.Event{}, err
	}
	return e, nil
}

// takeLocked adds events from a file to those kept. Where some are missing that no gap can tell of, since they are newer than the last
// one, known, or could not be read, it puts a gap of everybody's.
func (l *Log) takeLocked(list []wire.Event, known uint64) {
	damaged := false
	for _, e := range list {
		number := numberOf(e)
		if number == 0 {
			damaged = true
			continue
		}
		if number <= l.last {
			continue // a crash between the writing of the two files left it in both
		}
		if before := number - 1; before > l.last && (damaged || before > known) {
			l.kept = append(l.kept, gapAt(cursor(e.Cursor[:runLength], before), Everybody, e.Time))
		}
		l.kept, l.last, damaged = append(l.kept, e), number, false
	}
}

// reopenLocked opens the current file for appending.
func (l *Log) reopenLocked() error {
	file, err := os.OpenFile(filepath.Join(l.dir, current), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if l.disk.file != nil {
		_ = l.disk.file.Close() // it is replaced
	}
	l.disk.file = file
	return nil
}

// storeLocked writes an event, the newest of those kept, to the disk. After a failure it writes all that are kept.
func (l *Log) storeLocked(e wire.Event) {
	if !l.disk.failing {
		l.noteLocked(l.writeLocked(e))
	} else if !time.Now().Before(l.disk.retry) {
		l.noteLocked(l.rewriteLocked())
	}
}

// noteLocked logs when the disk begins to fail, and when it works again.
func (l *Log) noteLocked(err error) {
	failed := l.disk.failing
	l.disk.failing = err != nil
	switch {
	case err != nil:
		l.disk.retry = time.Now().Add(retryAfter)
		if !failed {
			l.log.Error("events cannot be written: until they can, a restart of the daemon forgets them", "folder", l.dir, "err", err)
		}
	case failed:
		l.log.Info("events are written again, also those meanwhile", "folder", l.dir)
	}
}

func (l *Log) writeLocked(e wire.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	_, err = l.disk.file.Write(append(line, '\n'))
	return err
}

// rewriteLocked writes both files anew.
func (l *Log) rewriteLocked() error {
	if err := hostpath.MakeFolder(l.dir, 0o700); err != nil {
		return err
	}
	if err := replace(filepath.Join(l.dir, previous), l.kept[:l.segment]); err != nil {
		return err
	}
	if err := replace(filepath.Join(l.dir, current), l.kept[l.segment:]); err != nil {
		return err
	}
	return l.reopenLocked()
}

// replace writes events to a file that appears whole or not at all.
func replace(path string, list []wire.Event) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for _, e := range list {
		if err := encoder.Encode(e); err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
	}
	return atomicfile.Write(path, text.Bytes())
}
