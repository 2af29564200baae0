package nofile_test // the package itself imports nothing

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"sandpool/cmd/sandpool-init/nofile"
	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	if os.Getenv("SANDPOOL_SHOW_LIMIT") != "" {
		fmt.Print(nofile.Limit)
		return
	}
	testhost.ClearEnv()
	m.Run()
}

// TestLimit starts a program with a limit that Go's runtime raises: it knows it all the same.
func TestLimit(t *testing.T) {
	want := "[123 456]"
	if runtime.GOARCH != "amd64" {
		want = "[0 0]"
	}
	cmd := exec.Command("sh", "-c", `ulimit -Sn 123 && ulimit -Hn 456 && SANDPOOL_SHOW_LIMIT=1 exec "$0"`, os.Args[0])
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
		t.Errorf("%v, %s, want %s", err, out, want)
	}
}
