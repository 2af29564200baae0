package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// noRound is what was found at the begin or the end of a rig, and at no round.
const noRound = -1

// found is what one round found, or the begin and the end of a rig.
type found struct {
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

// journal has what was found so far, in a file if a later run is to go on from there.
type journal struct {
	seed uint64
	file *os.File // nil: it is kept in memory only

	mu    sync.Mutex // scenarios may run side by side
	lines []found
}

// journalHead is the first line of a journal's file.
type journalHead struct {
	Seed uint64 `json:"seed"`
}

// openJournal opens a journal's file, and makes it for the seed if there is none. A last line that was not written whole is dropped.
func openJournal(path string, seed uint64) (_ *journal, err error) {
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
	j := &journal{seed: seed, file: f}
	if len(whole) == 0 {
		return j, j.write(journalHead{seed})
	}
	return j, j.read(whole)
}

func (j *journal) read(data []byte) error {
	lines := json.NewDecoder(bytes.NewReader(data))
	var head journalHead
	if err := lines.Decode(&head); err != nil {
		return err
	}
	j.seed = head.Seed
	for lines.More() {
		var line found
		if err := lines.Decode(&line); err != nil {
			return err
		}
		j.lines = append(j.lines, line)
	}
	return nil
}

// enter notes what was found.
func (j *journal) enter(line found) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	if j.file == nil {
		return nil
	}
	return j.write(line)
}

func (j *journal) write(line any) error {
	data, err := json.Marshal(line)
	if err == nil {
		_, err = j.file.Write(append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// has tells whether a round was played.
func (j *journal) has(scenario string, round int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if line.Scenario == scenario && line.Round == round {
			return true
		}
	}
	return false
}

// outcome is what all rounds of a scenario found so far.
func (j *journal) outcome(s scenario) *outcome {
	out := &outcome{fault: s.fault}
	for _, line := range j.lines {
		if line.Scenario == s.name {
			out.add(line)
		}
	}
	return out
}

// leastCrashes is how often the daemon crashed at the step at which it did so least often.
func (j *journal) leastCrashes(s scenario) int {
	crashes := make([]int, len(s.steps))
	for _, line := range j.lines {
		if line.Scenario == s.name && line.Round != noRound && line.Faults == 0 {
			crashes[line.Round%len(crashes)]++
		}
	}
	least := crashes[0]
	for _, n := range crashes {
		least = min(least, n)
	}
	return least
}

// summary says when, in how long and on what it was all found.
func (j *journal) summary() string {
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
