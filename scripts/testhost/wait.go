package testhost

import (
	"bytes"
	"context"
	"sync"
	"time"
)

// pollInterval suits what is known without a process of its own.
const pollInterval = 5 * time.Millisecond

func poll(ctx context.Context, done func() bool) error { return Poll(ctx, pollInterval, done) }

// Poll calls done once in an interval until it is true, or ctx ends and the cause is the error.
func Poll(ctx context.Context, interval time.Duration, done func() bool) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// Log is a log that may be read while it is written.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
