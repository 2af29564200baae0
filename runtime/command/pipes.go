package command

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

// OpenPipes opens the pipes for output that an earlier daemon left, for as long as one of its starts may take. A shim that opens
// the other end waits for a reader, and until then, or until the deadline of the start, it answers nothing: containerd
// would seem to be away. What the process reads has no writer any more, so that it ends by itself.
func (s *Starter) OpenPipes() error {
	p := &pipes{}
	for _, pattern := range []string{"*-stdout", "*-stderr"} {
		found, err := filepath.Glob(filepath.Join(s.cfg.FIFODir, "*", pattern))
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
		s.cfg.Log.Info("commands that were being started when the daemon was killed are given up", "pipes", len(p.files))
	}
	s.pipes = p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(s.cfg.StartTimeout, p.close)
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

// SweepPipes removes the pipes of exec'd processes that nobody removed and that are older than age. Once a process has
// started, both of their ends are open and the files are not needed any more. Their names do not tell whose they are.
func (s *Starter) SweepPipes(age time.Duration) error {
	entries, err := os.ReadDir(s.cfg.FIFODir)
	if err != nil {
		return fmt.Errorf("list pipes: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) >= age {
			errs = append(errs, os.RemoveAll(filepath.Join(s.cfg.FIFODir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}
