package lockfile

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
}

func TestLockIsHeldByOne(t *testing.T) {
	dir := t.TempDir()
	first, err := Take(dir, "lock", "stop it")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("another sandpoold (process %d) has it: stop it", os.Getpid())
	if _, err := Take(dir, "lock", "stop it"); err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	if err := first.Release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
	second, err := Take(dir, "lock", "stop it")
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Release(); err != nil {
		t.Error(err)
	}
	if err := (*Lock)(nil).Release(); err != nil {
		t.Errorf("of none: %v", err)
	}
}
