package testhost

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestTrusted(t *testing.T) {
	h := &Host{Dir: t.TempDir()}
	theirs, own := filepath.Join(t.TempDir(), "theirs"), filepath.Join(h.Dir, "own")
	for path, uid := range map[string]int{theirs: 1234, own: 0} {
		if err := os.WriteFile(path, []byte("x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	const config = "init = %q\npath = %q\nimage = \"file://%s\"\nmissing = \"/no/such\"\n"
	copied := filepath.Join(h.Dir, "trusted-theirs")
	got, err := h.Trusted(fmt.Sprintf(config, own, theirs, theirs))
	if want := fmt.Sprintf(config, own, copied, copied); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the copy: %v, %v", info, err)
	}
}
