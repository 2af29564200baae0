package outside

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const folderPrefix = "outside-"

// makeFolder makes a folder that is locked as long as the file is open. First it removes those whose owners were killed.
func makeFolder() (string, *os.File, error) {
	stale, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	for _, dir := range stale {
		if lock := lockFolder(dir); lock != nil {
			_ = os.RemoveAll(dir) // the next one tries again
			_ = lock.Close()
		}
	}
	for {
		dir, err := os.MkdirTemp("", folderPrefix)
		if err != nil {
			return "", nil, err
		}
		if lock := lockFolder(dir); lock != nil {
			return dir, lock, nil
		}
		// Another world took it for a stale one.
	}
}

// lockFolder returns nil if the folder is another's, or gone.
func lockFolder(dir string) *os.File {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		if _, err := os.Stat(dir); err == nil {
			return f
		}
	}
	_ = f.Close()
	return nil
}
