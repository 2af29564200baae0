package begin

import (
	"bytes"
	"strings"
	"sync"

	"sandpool/runtime/tail"
)

const (
	// keptWords is how much is kept of what a hook wrote, beside the longest of the secrets, in bytes.
	keptWords = 4 << 10
	// leastPart is how much of a secret is hidden as a part of it, in bytes: a line, or its beginning at the very end.
	leastPart = 4
	masked    = "***"
)

// values are the texts of an environment that are not to be shown: its values, and their lines.
func values(env []string) (all []string) {
	for _, entry := range env {
		_, value, _ := strings.Cut(entry, "=")
		if value != "" {
			all = append(all, value)
		}
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); len(line) >= leastPart && line != value {
				all = append(all, line)
			}
		}
	}
	return all
}

// ending keeps the end of what is written to it, and tells it without secrets.
type ending struct {
	hidden []string
	spare  int // the length of the longest of them: what is cut off may be the beginning of one

	mu    sync.Mutex
	kept  []byte
	wrote int
}

func newEnding(hidden []string) *ending {
	e := &ending{hidden: hidden}
	for _, text := range hidden {
		e.spare = max(e.spare, len(text))
	}
	return e
}

func (e *ending) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = tail.Append(e.kept, b, keptWords+e.spare)
	e.wrote += len(b)
	return len(b), nil
}

// String is the end of what was written, with all that is hidden masked: also its beginning, where it was broken off.
func (e *ending) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	hide := make([]bool, len(e.kept))
	for _, text := range e.hidden {
		e.markLocked(hide, []byte(text))
	}
	from := 0
	if e.wrote > len(e.kept) {
		from = min(e.spare, len(e.kept))
	}
	var shown strings.Builder
	for i := from; i < len(hide); i++ {
		switch {
		case !hide[i]:
			shown.WriteByte(e.kept[i])
		case i == from || !hide[i-1]:
			shown.WriteString(masked)
		}
	}
	return shown.String()
}

// markLocked marks where a text is, and where its beginning is at the end.
func (e *ending) markLocked(hide []bool, text []byte) {
	mark := func(from, length int) {
		for i := from; i < from+length; i++ {
			hide[i] = true
		}
	}
	for at := 0; ; at++ {
		i := bytes.Index(e.kept[at:], text)
		if i < 0 {
			break
		}
		at += i
		mark(at, len(text))
	}
	for part := min(len(text)-1, len(e.kept)); part >= leastPart; part-- {
		if bytes.HasSuffix(e.kept, text[:part]) {
			mark(len(e.kept)-part, part)
			break
		}
	}
}
