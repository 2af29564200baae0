package hostpath

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const stranger = 1234

// put makes a folder, a file, or a link if content begins with an arrow, which belongs to a user and has a mode.
func put(t *testing.T, path, content string, uid int, mode os.FileMode) {
	t.Helper()
	var err error
	target, isLink := strings.CutPrefix(content, "->")
	switch {
	case isLink:
		err = os.Symlink(target, path)
	case content == "":
		err = os.Mkdir(path, 0o700)
	default:
		err = os.WriteFile(path, []byte(content), 0o600)
	}
	err = errors.Join(err, os.Lchown(path, uid, uid))
	if !isLink {
		err = errors.Join(err, os.Chmod(path, mode))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	put(t, at("own"), "", 0, 0o755)
	put(t, at("own/file"), "x", 0, 0o644)
	put(t, at("own/group"), "x", 0, 0o664)
	put(t, at("own/theirs"), "x", stranger, 0o644)
	put(t, at("open"), "", 0, 0o777)
	put(t, at("open/file"), "x", 0, 0o644)
	put(t, at("sticky"), "", 0, 0o777|os.ModeSticky)
	put(t, at("sticky/own"), "", 0, 0o755)
	put(t, at("sticky/theirs"), "", stranger, 0o755)
	put(t, at("sticky/link"), "->"+at("own/file"), 0, 0)
	put(t, at("sticky/trap"), "->"+at("own/file"), stranger, 0)
	put(t, at("theirs"), "", stranger, 0o755)
	put(t, at("theirs/file"), "x", 0, 0o644)
	put(t, at("link"), "->own/../theirs/file", 0, 0)
	put(t, at("loop"), "->loop", 0, 0)
	put(t, at("back"), "->../"+filepath.Base(top)+"/own/file", 0, 0)
	if err := errors.Join(unix.Mknod(at("own/socket"), unix.S_IFSOCK|0o660, 0), os.Chmod(at("own/socket"), 0o666)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"own": "", "own/file": "", "own/missing/x": "", "own/file/x": "", "own/socket": "", "sticky/own": "", "sticky/missing": "", "sticky/link": "", "back": "", "own/../own/./file": "",
		"own/group":     "own/group can be written by others (mode 0664), and what is there is used as root: chmod go-w ",
		"own/theirs":    "own/theirs belongs to uid 1234, and what is there is used as root: chown -h root: ",
		"open":          "open can be written by others (mode 0777)",
		"open/file":     "open can be written by others (mode 0777)",
		"open/missing":  "open can be written by others (mode 0777)",
		"sticky":        "sticky can be written by others (mode 1777)",
		"sticky/theirs": "sticky/theirs belongs to uid 1234",
		"sticky/trap":   "sticky/trap belongs to uid 1234",
		"theirs/file":   "theirs belongs to uid 1234",
		"link":          "theirs belongs to uid 1234",
		"loop":          "loop leads through more than 40 links",
	} {
		switch err := Check(at(path)); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", path, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), top+"/"+want)):
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	for path, fine := range map[string]bool{"own/theirs": true, "theirs": true, "sticky/theirs": true, "theirs/file": false, "sticky/trap": false, "open/file": false} {
		if err := CheckAbove(at(path)); (err == nil) != fine {
			t.Errorf("above %s: %v", path, err)
		}
	}
	if err := Check("relative"); err == nil {
		t.Error("a relative path is taken")
	}
}

// TestMakeFolder looks at what is left of a refused one: nothing is made where others want it.
func TestMakeFolder(t *testing.T) {
	top := t.TempDir()
	put(t, filepath.Join(top, "sticky"), "", 0, 0o777|os.ModeSticky)
	put(t, filepath.Join(top, "sticky", "trap"), "->"+filepath.Join(top, "made"), stranger, 0)
	if err := MakeFolder(filepath.Join(top, "sticky", "trap", "x"), 0o711); err == nil {
		t.Error("a folder is made at the end of a stranger's link")
	}
	if _, err := os.Lstat(filepath.Join(top, "made")); !os.IsNotExist(err) {
		t.Errorf("the end of the link: %v", err)
	}
	folder := filepath.Join(top, "sticky", "a", "b")
	for range 2 {
		if err := MakeFolder(folder, 0o711); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(folder); err != nil || info.Mode() != os.ModeDir|0o711 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestReadFile(t *testing.T) {
	top := t.TempDir()
	fifo, large, fits := filepath.Join(top, "fifo"), filepath.Join(top, "large"), filepath.Join(top, "fits")
	put(t, fits, strings.Repeat("x", 1024), 0, 0o600)
	put(t, large, strings.Repeat("x", 1025), 0, 0o600)
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := ReadFile(fits, 1024); err != nil || len(data) != 1024 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	for path, want := range map[string]string{fifo: "not a regular file", large: "larger than the 1 KiB", "/dev/zero": "not a regular file", top: "not a regular file"} {
		if data, err := ReadFile(path, 1024); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d bytes, %v; want %q", path, len(data), err, want)
		}
	}
}
