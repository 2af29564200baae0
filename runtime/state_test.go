package runtime

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// TestOldPipesAreRemoved finds nothing in the state folder of the pipes that a killed daemon left.
func TestOldPipesAreRemoved(t *testing.T) {
	cfg := Config{StateDir: filepath.Join(t.TempDir(), "state")}
	for range 2 {
		e := newEngine(cfg, slog.New(slog.DiscardHandler))
		if err := e.lockState(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(cfg.fifoDir())
		if err != nil || len(entries) > 0 {
			t.Errorf("%v, %v are left", entries, err)
		}
		if err := os.MkdirAll(filepath.Join(cfg.fifoDir(), "123", "e-stdout"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
