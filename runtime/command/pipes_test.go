package command

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOpenPipes lets go a shim that waits for the reader of a pipe, which was killed.
func TestOpenPipes(t *testing.T) {
	s := New(Config{FIFODir: t.TempDir(), StartTimeout: time.Hour, Log: slog.New(slog.DiscardHandler)})
	dir := filepath.Join(s.cfg.FIFODir, "123")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"e-stdin", "e-stdout", "e-stderr"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opened := make(chan error, 2)
	for _, name := range []string{"e-stdout", "e-stderr"} {
		go func() {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
			if err == nil {
				err = f.Close()
			}
			opened <- err
		}()
	}
	if err := s.OpenPipes(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
	// What the process reads must have no writer: it would wait for its input.
	if _, err := unix.Open(filepath.Join(dir, "e-stdin"), unix.O_WRONLY|unix.O_NONBLOCK, 0); err != unix.ENXIO {
		t.Errorf("e-stdin: %v, want that it has no reader", err)
	}
	s.Close()
}
