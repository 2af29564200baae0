package tree

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	folder, err := OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	return folder
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// oddTree makes files of all the kinds that are packed.
func oddTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, "x", name) }
	must(t, os.MkdirAll(at("deep/er"), 0o755))
	for name, content := range map[string]string{
		"plain": "hello", "empty": "", "caf\xe9": "latin", "new\nline": "n", "-rf": "dash", strings.Repeat("n", 255): "long",
		"deep/er/" + strings.Repeat("ü", 120): "deep", "set": "uid", "old": "1969",
	} {
		must(t, os.WriteFile(at(name), []byte(content), 0o640))
	}
	must(t, unix.Chmod(at("set"), 0o4755))
	must(t, os.Symlink(strings.Repeat("../", 60)+"nowhere", at("link")))
	must(t, os.Link(at("plain"), at("zz-other name")))
	must(t, unix.Mkfifo(at("pipe"), 0o600))
	must(t, os.Truncate(at("empty"), 0))
	for name, data := range map[string][]int64{"hole": nil, "holes": {0, 5 << 20}, "hole at the end": {1 << 20}, "tail": {(8 << 20) - 4}} {
		file, err := os.Create(at(name))
		must(t, err)
		for _, offset := range data {
			_, err := file.WriteAt([]byte("data"), offset)
			must(t, err)
		}
		must(t, file.Truncate(8<<20))
		must(t, file.Close())
	}
	must(t, os.Chtimes(at("old"), time.Time{}, time.Unix(-1000, 5)))
	must(t, os.Chtimes(at("plain"), time.Time{}, time.Unix(1_700_000_000, 123456789)))
	must(t, unix.Chmod(at("deep"), 0o550))
	t.Cleanup(func() { _ = unix.Chmod(at("deep"), 0o750) })
	return dir
}

// describe lists all that is below a folder.
func describe(t *testing.T, folder *os.File) string {
	t.Helper()
	var text strings.Builder
	names, err := Names(folder)
	must(t, err)
	for _, name := range names {
		st, err := StatAt(folder, name)
		must(t, err)
		kind := st.Mode & unix.S_IFMT
		fmt.Fprintf(&text, "%q %o %d:%d %d.%09d", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch kind {
		case unix.S_IFREG:
			file, _, err := OpenPlain(folder, name)
			must(t, err)
			data, err := io.ReadAll(file)
			must(t, errors.Join(err, file.Close()))
			fmt.Fprintf(&text, " %d links, %d bytes %.20q", st.Nlink, len(data), bytes.Trim(data, "\x00"))
		case unix.S_IFLNK:
			target, err := Link(folder, name)
			must(t, err)
			fmt.Fprintf(&text, " -> %s", target)
		}
		text.WriteString("\n")
		if kind == unix.S_IFDIR {
			inner, err := OpenInner(folder, name)
			must(t, err)
			text.WriteString(describe(t, inner))
			must(t, inner.Close())
		}
	}
	return text.String()
}

// TestRoundTrip packs and unpacks, and has the standard library's reader agree with what was packed.
func TestRoundTrip(t *testing.T) {
	from, to := oddTree(t), t.TempDir()
	var stream bytes.Buffer
	must(t, Pack(&stream, open(t, from), "x", "x"))
	if size := stream.Len(); size > 1<<20 {
		t.Errorf("the stream has %d bytes: its holes are in it", size)
	}
	must(t, Unpack(bytes.NewReader(stream.Bytes()), open(t, to), Options{Root: "x", Owners: os.Geteuid() == 0, Special: true}))
	if got, want := describe(t, open(t, to)), describe(t, open(t, from)); got != want {
		t.Errorf("unpacked is\n%swant\n%s", got, want)
	}
	var st unix.Stat_t
	if must(t, unix.Stat(filepath.Join(to, "x", "hole"), &st)); st.Blocks*512 > 1<<20 {
		t.Errorf("the hole has %d blocks", st.Blocks)
	}
	_ = unix.Chmod(filepath.Join(to, "x", "deep"), 0o750) // for its removal
	unpackByTar(t, stream.Bytes(), from)
}

// unpackByTar reads what was packed without a part of ours.
func unpackByTar(t *testing.T, stream []byte, from string) {
	t.Helper()
	in := tar.NewReader(bytes.NewReader(stream))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		data, err := io.ReadAll(in)
		must(t, err)
		if h.Typeflag == tar.TypeReg {
			want, err := os.ReadFile(filepath.Join(from, h.Name))
			if err != nil || !bytes.Equal(data, want) {
				t.Errorf("%q: %d bytes, want %d (%v)", h.Name, len(data), len(want), err)
			}
		}
	}
}

// TestUnpackStaysInside has streams of strangers that would lead out of the folder, by their names or by links, and others that cannot be.
func TestUnpackStaysInside(t *testing.T) {
	link := tar.Header{Name: "x/out", Typeflag: tar.TypeSymlink, Linkname: "/"}
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	for name, c := range map[string]struct {
		headers []tar.Header
		want    string
	}{
		"a parent":                {[]tar.Header{file("x/../../y")}, ".."},
		"another top":             {[]tar.Header{file("y")}, "want names in"},
		"through a link":          {[]tar.Header{link, file("x/out/tmp/sandpool-was-here")}, "link"},
		"a folder that is a link": {[]tar.Header{link, {Name: "x/out", Typeflag: tar.TypeDir, Mode: 0o777}}, "link"},
		"a link to the parent":    {[]tar.Header{{Name: "x/l", Typeflag: tar.TypeLink, Linkname: "../etc/passwd"}}, ".."},
		"a link through a link":   {[]tar.Header{link, {Name: "x/l", Typeflag: tar.TypeLink, Linkname: "x/out/etc/passwd"}}, "link"},
		"a device":                {[]tar.Header{{Name: "x/d", Typeflag: tar.TypeChar}}, "device"},
		"a folder that is a file": {[]tar.Header{file("x"), file("x/y")}, "file"},
		"too long a name":         {[]tar.Header{file("x/" + strings.Repeat("n", 256))}, "name too long"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var stream bytes.Buffer
			w := tar.NewWriter(&stream)
			for _, h := range c.headers {
				must(t, w.WriteHeader(&h))
			}
			must(t, w.Close())
			err := Unpack(&stream, open(t, dir), Options{Root: "x"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if all := describe(t, open(t, dir)); strings.Contains(all, temporaryPrefix) {
				t.Errorf("left over:\n%s", all)
			}
		})
	}
	if _, err := os.Lstat("/tmp/sandpool-was-here"); err == nil {
		t.Error("it led out")
	}
}

// TestUnpackCut has a stream that ends in a file: what was there stays.
func TestUnpackCut(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "big"), []byte("old"), 0o600))
	from := t.TempDir()
	must(t, os.WriteFile(filepath.Join(from, "big"), bytes.Repeat([]byte("new "), 100_000), 0o600))
	var stream bytes.Buffer
	must(t, Pack(&stream, open(t, from), "big", "big"))
	for _, cut := range []int{300_000, 100} {
		err := Unpack(bytes.NewReader(stream.Bytes()[:cut]), open(t, dir), Options{})
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("cut off at %d: error %v, want one that the stream is invalid", cut, err)
		}
	}
	if all := describe(t, open(t, dir)); !strings.Contains(all, `"old"`) || strings.Contains(all, temporaryPrefix) {
		t.Errorf("there is\n%s", all)
	}
}

// TestScannedHoles finds by their content the holes that the file system tells of.
func TestScannedHoles(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer func() { _ = file.Close() }()
	for _, offset := range []int64{70_000, 5 << 20} {
		_, err := file.WriteAt([]byte("data"), offset)
		must(t, err)
	}
	must(t, file.Truncate(9<<20))
	found, err := scannedExtents(file, 9<<20)
	if want := fmt.Sprint([]extent{{65536, 65536}, {5 << 20, 65536}}); err != nil || fmt.Sprint(found) != want {
		t.Errorf("found %v, %v; want %s", found, err, want)
	}
}
