package hostpath

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// table is a host: a root file system, with another one at /data of which parts are shown elsewhere, and one that lies hidden.
const table = `1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/a rw
2 1 8:2 / /data rw,nosuid,nodev - ext4 /dev/b rw
3 1 8:2 /open /mnt rw - ext4 /dev/b rw
4 1 8:1 /srv/bound /srv/bound rw,nosuid,nodev - ext4 /dev/a rw
5 1 8:1 /srv/other /srv/copy rw,nosuid,nodev - ext4 /dev/a rw
6 2 0:9 / /data/sub\040folder rw,nosuid - tmpfs tmpfs rw
7 1 8:3 / /over rw - ext4 /dev/c rw
8 7 8:4 / /over rw,nosuid,nodev - ext4 /dev/d rw
9 7 8:5 / /over/hidden rw - ext4 /dev/e rw
damaged line
`

func TestMountsOfAWritableSource(t *testing.T) {
	for path, want := range map[string]string{
		"/srv/x":             "/srv/x",             // neither option
		"/data/own":          "",                   // both
		"/data/open/x":       "/mnt/x",             // both, but shown elsewhere without
		"/data":              "/mnt",               // a part of it is
		"/mnt/x":             "/mnt/x",             //
		"/srv/bound/x":       "",                   // mounted on itself: the only way to it
		"/srv/copy/x":        "/srv/other/x",       // the other way to it is open
		"/over/x":            "",                   // what lies under another mount cannot be seen
		"/over/hidden":       "",                   //
		"/closed/x":          "",                   // root alone gets there
		"/data/sub":          "",                   // not the folder whose name begins so
		"/data/sub folder/x": "/data/sub folder/x", // one of both options
	} {
		err := checkWritable(parseMounts(table), path, func(path string) bool { return strings.HasPrefix(path, "/closed/") })
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want+" can be reached by users of this host") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	below := strings.Replace(table, "/dev/b rw\n3", "/dev/b rw\n10 2 0:8 / /data/own/deep rw - tmpfs tmpfs rw\n3", 1)
	if err := checkWritable(parseMounts(below), "/data/own", func(string) bool { return false }); err == nil || !strings.HasPrefix(err.Error(), "/data/own/deep can") {
		t.Errorf("a mount below the source: %v", err)
	}
}

// TestClosed judges folders alone: the file system of the test may be any.
func TestClosed(t *testing.T) {
	top := t.TempDir()
	for at := top; at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(top, name) }
	put(t, at("open"), "", 0, 0o755)
	put(t, at("shut"), "", 0, 0o700)
	put(t, at("shut/x"), "", stranger, 0o777)
	put(t, at("group"), "", 0, 0o710)
	put(t, at("group/x"), "", 0, 0o755)
	put(t, at("theirs"), "", stranger, 0o700)
	put(t, at("theirs/x"), "", 0, 0o700)
	// A sandbox can change the mode of its source, and so can a stranger that of a folder.
	for path, want := range map[string]bool{"open": false, "shut": false, "shut/x": true, "group/x": false, "theirs/x": false} {
		if got := isClosed(at(path)); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
	for path, want := range map[string]string{"shut/x": "", "missing": "", "shut/missing": "", "theirs/x": "belongs to uid 1234"} {
		if err := CheckWritable(at(path)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
