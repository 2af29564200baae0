package testhost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Logs are kept whole, and of the last runs only.
func TestKeepLogs(t *testing.T) {
	h, dir := &Host{Dir: t.TempDir()}, filepath.Join(t.TempDir(), "logs")
	text := strings.Repeat("a line\n", 5000)
	if err := os.WriteFile(filepath.Join(h.Dir, "containerd.log"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range logsKept + 2 {
		old := filepath.Join(dir, fmt.Sprintf("old-%02d", i))
		at := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.MkdirAll(old, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(old, at, at); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := h.keepLogs(dir, "runtime-1")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(kept, "containerd.log")); err != nil || string(data) != text {
		t.Errorf("%v, %d bytes are kept; want all %d", err, len(data), len(text))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != logsKept || entries[0].Name() != "old-03" {
		t.Errorf("kept %v, %v; want %d, the oldest old-03", entries, err, logsKept)
	}
}
