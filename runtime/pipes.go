package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pipes are the outputs of processes that a daemon was starting when it was killed.
type pipes struct {
	mu    sync.Mutex
	files []*os.File
	timer *time.Timer // to close them
}

// openPipes opens the pipes for output that an earlier daemon left, for as long as one of its starts may take. A shim that opens
// the other end waits for a reader, and until then, or until the deadline of the start, it answers nothing: containerd
// would seem to be away. What the process reads has no writer any more, so that it ends by itself.
func (e *Engine) openPipes() error {
	p := &pipes{}
	for _, pattern := range []string{"*-stdout", "*-stderr"} {
		found, err := filepath.Glob(filepath.Join(e.cfg.fifoDir(), "*", pattern))
		if err != nil {
			return fmt.Errorf("list pipes: %w", err)
		}
		for _, path := range found {
			f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				p.close()
				return fmt.Errorf("open pipe of an earlier process: %w", err)
			}
			p.files = append(p.files, f)
		}
	}
	if len(p.files) > 0 {
		e.log.Info("commands that were being started when the daemon was killed are given up", "pipes", len(p.files))
	}
	e.pipes = p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(e.cfg.StartTimeout, p.close)
	return nil
}

func (p *pipes) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, f := range p.files {
		_ = f.Close()
	}
	p.files = nil
}
