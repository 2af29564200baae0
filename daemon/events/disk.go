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
	for _, name := range []string{previous, current} {
		l.segment = len(l.kept)
		if err := l.loadSegment(filepath.Join(l.dir, name)); err != nil {
			return err
		}
	}
	return l.reopenLocked()
}

// loadSegment reads one file and cuts off what was half written.
func (l *Log) loadSegment(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole < len(data) {
		l.log.Warn("event that was half written is cut off", "file", path, "bytes", len(data)-whole)
		if err := os.Truncate(path, int64(whole)); err != nil {
			return err
		}
	}
	damaged := 0
	for line := range bytes.Lines(data[:whole]) {
		var e wire.Event
		err := json.Unmarshal(line, &e)
		if err == nil {
			err = l.takeLocked(e)
		}
		if err != nil {
			damaged++
		}
	}
	if damaged > 0 {
		l.log.Warn("damaged events are left out", "file", path, "lines", damaged)
	}
	return nil
}

// takeLocked adds an event from a file to those kept. Numbers stay consecutive: readers of what is before a hole are told of a gap.
func (l *Log) takeLocked(e wire.Event) error {
	_, number, err := parseCursor(e.Cursor)
	switch {
	case err != nil:
		return err
	case number == 0 || number > maxNumber:
		return fmt.Errorf("number %d cannot be", number)
	case number <= l.last:
		return nil // a crash between the writing of the two files left it in both
	case number != l.last+1:
		l.kept, l.segment = nil, 0
	}
	l.kept, l.last = append(l.kept, e), number
	return nil
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

// shiftLocked makes the current file the previous one and begins a new one.
func (l *Log) shiftLocked() error {
	if err := os.Rename(filepath.Join(l.dir, current), filepath.Join(l.dir, previous)); err != nil {
		return err
	}
	return l.reopenLocked()
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
