package rootfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// open opens an image that has these files and links. Beside its folder is a file of the host's.
func open(t *testing.T, files map[string]string, links map[string]string) *Files {
	t.Helper()
	beside := t.TempDir()
	dir := filepath.Join(beside, "image")
	place := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, content := range files {
		if err := os.WriteFile(place(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, place(name)); err != nil {
			t.Fatal(err)
		}
	}
	place("x")
	if err := os.WriteFile(filepath.Join(beside, "passwd"), []byte("host:x:4242:4242::/:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestResolve(t *testing.T) {
	f := open(t, map[string]string{"a/b/file": "x"}, map[string]string{
		"abs": "/a/b", "rel": "a/../abs/.", "up": "../../../../a", "out": "/../../../etc/passwd", "gone": "/a/none/../x", "one": "two", "two": "/one/x",
		"a/b/parent": "..", "tofile": "a/b/file", "long": strings.Repeat("a/../", 400), "longer": "long/long/long",
	})
	for name, want := range map[string]string{
		"/": "/", "/a//b/": "/a/b", "/abs/file": "/a/b/file", "/rel/file": "/a/b/file", "/up/b": "/a/b", "/a/b/parent/b/parent": "/a",
		"/../../a": "/a", "/abs/none/more": "/a/b/none/more", "/out": "/etc/passwd", "/gone": "/a/x", "/none/../../x": "/x", "a": "/a",
	} {
		got, info, err := f.Resolve(name)
		if err != nil || got != want {
			t.Errorf("%s leads to %q, %v; want %s", name, got, err, want)
		}
		if _, statErr := f.root.Lstat(inside(want)); (info == nil) != (statErr != nil) {
			t.Errorf("%s: %v, but %v", name, info, statErr)
		}
	}
	for name, want := range map[string]string{
		"/one":                         "leads through too many links",
		"/longer":                      `"/longer" in the image leads through too many folders`,
		"/tofile/x":                    "/a/b/file in the image is a file, not a folder",
		"/" + strings.Repeat("n", 300): "file name too long",
	} {
		if _, _, err := f.Resolve(name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), f.root.Name()) {
			t.Errorf("%.20s: %v, want %s", name, err, want)
		}
	}
}

const (
	users  = "root:x:0:0:root:/root:/bin/sh\nbad\napp:x:1000:100::/app:\napp:x:1:1::/:\nodd:x:x:1::/:\n7:x:70:70::/:\n"
	groups = "root:x:0:\nstaff:x:50:other,app\napp:x:51:app\nbad:x:x:app\nmore:x:52:app,root\n"
)

func TestUser(t *testing.T) {
	f := open(t, map[string]string{"etc/passwd": users, "etc/group": groups}, nil)
	for user, want := range map[string]specs.User{
		"":          {AdditionalGids: []uint32{0, 52}},
		"root":      {AdditionalGids: []uint32{0, 52}},
		"app":       {UID: 1000, GID: 100, AdditionalGids: []uint32{100, 50, 52}},
		"1000":      {UID: 1000, GID: 100, AdditionalGids: []uint32{100, 50, 52}},
		"7":         {UID: 7, AdditionalGids: []uint32{0}},
		"app:staff": {UID: 1000, GID: 50, AdditionalGids: []uint32{50}},
		"app:9":     {UID: 1000, GID: 9, AdditionalGids: []uint32{9}},
		"8:9":       {UID: 8, GID: 9, AdditionalGids: []uint32{9}},
		":staff":    {GID: 50, AdditionalGids: []uint32{50}},
	} {
		if got, err := f.User(user); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v; want %+v", user, got, err, want)
		}
	}
	for user, want := range map[string]string{
		"odd": `user "odd" is not in the image's /etc/passwd`, "host": `user "host" is not in`, "app:": `group "" is not in the image's /etc/group`,
		"-1": "want a number from 0", "2147483648": "want a number from 0", "1:99999999999999999999": "group: want a number",
	} {
		if got, err := f.User(user); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v; want %s", user, got, err, want)
		}
	}
}

// What is no plain file is not opened, and nothing of the host's is read.
func TestUserOfOddFiles(t *testing.T) {
	huge := string(bytes.Repeat([]byte(users), maxFile/len(users)+1))
	for name, test := range map[string]struct {
		special uint32 // kind of the file of users
		files   map[string]string
		links   map[string]string
		want    string
	}{
		"a pipe":        {special: unix.S_IFIFO, want: "/etc/passwd in the image is a named pipe, not a file"},
		"a device":      {special: unix.S_IFCHR, want: "/etc/passwd in the image is a device, not a file"},
		"a folder":      {files: map[string]string{"etc/passwd/x": ""}, want: "/etc/passwd in the image is a folder, not a file"},
		"too large":     {files: map[string]string{"etc/passwd": huge}, want: "/etc/passwd in the image has "},
		"a circle":      {links: map[string]string{"etc/passwd": "passwd"}, want: "leads through too many links"},
		"out of it":     {links: map[string]string{"etc/passwd": "../../passwd"}, want: `user "host" is not in the image's /etc/passwd`},
		"out by folder": {links: map[string]string{"etc": "../.."}, want: `user "host" is not in`},
		"the host's":    {links: map[string]string{"etc/passwd": "/proc/self/root/etc/passwd"}, want: `user "host" is not in`},
		"an empty one":  {files: map[string]string{"etc/passwd": ""}, want: `user "host" is not in`},
		"none":          {want: `user "host" is not in`},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, test.files, test.links)
			if test.special != 0 {
				etc := filepath.Join(f.root.Name(), "etc")
				if err := os.Mkdir(etc, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := unix.Mknod(filepath.Join(etc, "passwd"), test.special|0o644, int(unix.Mkdev(1, 5))); err != nil {
					t.Fatal(err)
				}
			}
			got, err := f.User("host")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v, %v; want %s", got, err, test.want)
			}
			if got, err := f.User("1:2"); err != nil || got.UID != 1 || got.GID != 2 {
				t.Errorf("of two numbers: %+v, %v", got, err)
			}
		})
	}
}

func TestUserOfManyGroups(t *testing.T) {
	var many strings.Builder
	for gid := range maxGroups + 1 {
		fmt.Fprintf(&many, "g:x:%d:app\n", gid)
	}
	f := open(t, map[string]string{"etc/passwd": users, "etc/group": many.String()}, nil)
	if _, err := f.User("app"); err == nil || !strings.Contains(err.Error(), `user "app" is in more than 65536 groups`) {
		t.Error(err)
	}
}

func TestIsEmpty(t *testing.T) {
	f := open(t, map[string]string{"full/x": "", "plain": ""}, map[string]string{"link": "none"})
	for name, want := range map[string]bool{"/full": false, "/plain": false, "/link": false, "/none": true} {
		if got := f.IsEmpty(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
