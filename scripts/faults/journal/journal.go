// Package journal keeps what the rounds of a fault suite found, in a file if a later run is to go on from there.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// NoRound is what was found at the begin or the end of a rig, and at no round.
const NoRound = -1

// Found is what one round found, or the begin and the end of a rig.
type Found struct {
	Scenario string        `json:"scenario"`
	Round    int           `json:"round"`
	Double   int           `json:"double,omitempty"`
	Leaked   int           `json:"leaked,omitempty"`
	Lost     int           `json:"lost,omitempty"`
	Faults   int           `json:"faults,omitempty"`
	Recovery time.Duration `json:"recovery_ns,omitempty"` // 0: it did not come to that
	Remark   string        `json:"remark,omitempty"`
	Took     time.Duration `json:"took_ns"`
	On       string        `json:"on,omitempty"` // what the daemon ran on
}

// Journal has what was found so far, in a file if a later run is to go on from there.
type Journal struct {
	seed uint64
	file *os.File // nil: it is kept in memory only

	mu    sync.Mutex // scenarios may run side by side
	lines []Found
}

// head is the first line of a journal's file.
type head struct {
	Seed uint64 `json:"seed"`
}

// New is a journal that is kept in memory.
func New(seed uint64) *Journal { return &Journal{seed: seed} }

// Seed is what the faults of its rounds are chosen by.
func (j *Journal) Seed() uint64 { return j.seed }

// Open opens a journal's file, and makes it for the seed if there is none. A last line that was not written whole is dropped.
func Open(path string, seed uint64) (_ *Journal, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // no secret
		return nil, fmt.Errorf("make the journal's folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644) //nolint:gosec // no secret
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("journal %s: %w: remove it to begin anew", path, err), f.Close())
		}
	}()
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	if err := f.Truncate(int64(len(whole))); err != nil {
		return nil, err
	}
	j := &Journal{seed: seed, file: f}
	if len(whole) == 0 {
		return j, j.write(head{seed})
	}
	return j, j.read(whole)
}

func (j *Journal) read(data []byte) error {
	lines := json.NewDecoder(bytes.NewReader(data))
	var first head
	if err := lines.Decode(&first); err != nil {
		return err
	}
	j.seed = first.Seed
	for lines.More() {
		var line Found
		if err := lines.Decode(&line); err != nil {
			return err
		}
		j.lines = append(j.lines, line)
	}
	return nil
}

// Enter notes what was found.
func (j *Journal) Enter(line Found) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	if j.file == nil {
		return nil
	}
	return j.write(line)
}

func (j *Journal) write(line any) error {
	data, err := json.Marshal(line)
	if err == nil {
		_, err = j.file.Write(append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// Close closes its file.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// Has tells whether a round was played.
func (j *Journal) Has(scenario string, round int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.lines, func(line Found) bool { return line.Scenario == scenario && line.Round == round })
}

// Of is what was found of a scenario so far.
func (j *Journal) Of(scenario string) []Found {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(j.lines), func(line Found) bool { return line.Scenario != scenario })
}

// Summary says when, in how long and on what it was all found.
func (j *Journal) Summary() string {
	var took time.Duration
	on := "nothing"
	for _, line := range j.lines {
		took += line.Took
		if line.On != "" {
			on = line.On
		}
	}
	return fmt.Sprintf("%s, seed %d, %s in all, on %s", time.Now().UTC().Format(time.DateOnly), j.seed, took.Round(time.Second), on)
}
