package runtime

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/runtime/hostproc"
	"sandpool/runtime/template"
)

// TestFilesThatOnlyTheHostSees looks for files from a mount namespace with a folder of its own, as a service of systemd has /tmp.
func TestFilesThatOnlyTheHostSees(t *testing.T) {
	dir := t.TempDir()
	there, missing := filepath.Join(dir, "app.tar"), filepath.Join(dir, "missing.tar")
	write(t, there, "x")
	e := openEngine(t, testConfig(t))
	said := map[string]string{}
	failed := hostproc.OnThread(func() error {
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
		}
		for _, path := range []string{there, missing} {
			_, importErr := e.Prepare(t.Context(), "import", template.Template{Image: "file://" + path})
			_, mountErr := e.prepare(e.in(t), nil, template.Template{Mounts: []template.Mount{{Source: path, Target: "/x"}}})
			if importErr == nil || mountErr == nil {
				continue
			}
			said["import "+path], said["mount "+path] = importErr.Error(), mountErr.Error()
		}
		return err
	})
	if failed != nil {
		t.Fatal(failed)
	}
	for what, text := range said {
		if strings.Contains(text, "PrivateTmp=") != strings.Contains(what, there) || !strings.Contains(text, "no such file") {
			t.Errorf("%s: %s", what, text)
		}
	}
	if len(said) != 4 {
		t.Errorf("%d errors, want 4", len(said))
	}
}
