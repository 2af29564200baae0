package transfer

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"sandpool/daemon/wire"
)

const (
	barWidth    = 24
	redrawEvery = 100 * time.Millisecond
)

// Bar shows on a terminal how far a copy is. The nil one shows nothing.
type Bar struct {
	Every time.Duration // how often it is drawn at most

	to io.Writer

	mu      sync.Mutex
	name    string
	total   int64 // 0: unknown
	at      int64
	came    int64 // without what was there before
	began   time.Time
	drawn   time.Time
	visible bool
}

// NewBar makes a bar that is drawn on a terminal. End must be called.
func NewBar(to io.Writer) *Bar { return &Bar{Every: redrawEvery, to: to, began: time.Now()} }

func (b *Bar) begin(name string, total int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.name, b.total = name, total
}

// reader counts what is read, from a place in the whole on.
func (b *Bar) reader(r io.Reader, at int64) io.Reader {
	if b == nil {
		return r
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = at
	return &countedReader{r, b}
}

type countedReader struct {
	io.Reader

	bar *Bar
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bar.add(n)
	return n, err
}

func (b *Bar) add(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at += int64(n)
	b.came += int64(n)
	if time.Since(b.drawn) >= b.Every {
		b.drawLocked()
	}
}

func (b *Bar) drawLocked() {
	b.drawn, b.visible = time.Now(), true
	rate := float64(b.came) / 1e6 / max(time.Since(b.began).Seconds(), 1e-3)
	line := fmt.Sprintf("%.1f MB, %.0f MB/s", float64(b.at)/1e6, rate)
	if b.total > 0 {
		done := int(min(b.at, b.total) * barWidth / b.total)
		line = fmt.Sprintf("[%s%s] %3d%% of %.1f MB, %.0f MB/s", strings.Repeat("#", done), strings.Repeat(".", barWidth-done), b.at*100/b.total, float64(b.total)/1e6, rate)
	}
	_, _ = fmt.Fprintf(b.to, "\r\x1b[K%s %s", wire.Printable(b.name), line)
}

// End draws the bar a last time and goes to the next line, if it was drawn at all.
func (b *Bar) End() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.visible {
		b.drawLocked()
		_, _ = fmt.Fprintln(b.to)
	}
}
