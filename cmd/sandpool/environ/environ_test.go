package environ

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecret reads secrets from files and this program's own environment, and from no command line.
func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a=b\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FROM_HERE", "here")
	for flag, want := range map[string]string{"T=@" + file: "T=a=b\n", "FROM_HERE": "FROM_HERE=here"} {
		if got, err := Secret(flag); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", flag, got, err, want)
		}
	}
	for flag, want := range map[string]string{"T=value": "no secrets", "T=@/nowhere": "no such file", "NOT_SET_HERE": "is not set here", "=@" + file: "want NAME=@FILE"} {
		if _, err := Secret(flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", flag, err, want)
		}
	}
}
