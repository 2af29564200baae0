package command

import (
	"bytes"
	"sync"

	"sandpool/runtime/oneline"
	"sandpool/runtime/tail"
)

const (
	// keptOutput is how much of a command's output is kept, in bytes: its end.
	keptOutput = 64 << 10
	// shownOutput is how much of it goes into an error.
	shownOutput = 300
)

// LastWords keeps the end of what is written to it. Its zero value is ready.
type LastWords struct {
	mu  sync.Mutex
	buf []byte
}

func (t *LastWords) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = tail.Append(t.buf, b, keptOutput)
	return len(b), nil
}

// Bytes returns a copy of it.
func (t *LastWords) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.buf)
}

// End is the last of it on one line, for a message.
func (t *LastWords) End() string {
	all := bytes.TrimSpace(t.Bytes())
	return oneline.Of(string(all[max(0, len(all)-shownOutput):]))
}
