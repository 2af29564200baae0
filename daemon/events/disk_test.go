package events

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sandpool/daemon/wire"
)

func TestTornLine(t *testing.T) {
	for name, torn := range map[string]string{
		"half an event":   `{"cursor":"aaaaaaaa-3","time":"2026-`,
		"all but its end": `{"cursor":"aaaaaaaa-3","time":"2026-11-24T03:12:10Z","kind":"claimed"}`,
		"zeros":           "\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			added := add(open(t, dir, 10), 1, 2)
			path := filepath.Join(dir, current)
			appendTo(t, path, torn)
			var out bytes.Buffer
			l := openLogged(t, dir, 10, slog.New(slog.NewTextHandler(&out, nil)))
			if !strings.Contains(out.String(), "half written") {
				t.Errorf("the log says %q", out.String())
			}
			add(l, 3, 4)
			expect(t, rest(t, l, added[0].Cursor), "2 3 4")
			expect(t, rest(t, open(t, dir, 10), added[0].Cursor), "2 3 4")
		})
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDamage leaves out what cannot be read, and tells readers of what was before it that they miss something.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	added := add(open(t, dir, 10), 1, 5)
	path := filepath.Join(dir, current)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines[2][0] = 'x'
	if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, 10)
	expect(t, rest(t, l, ""), "1 2 4 5")
	expect(t, rest(t, l, added[0].Cursor), "2 gap 4 5")
	expect(t, rest(t, l, added[2].Cursor), "4 5")
	expect(t, rest(t, l, added[3].Cursor), "5")
}

// TestInBothFiles crashes between the two files of a rewrite.
func TestInBothFiles(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 10)
	added := add(l, 1, 13)
	if err := replace(filepath.Join(dir, previous), added[:12]); err != nil {
		t.Fatal(err)
	}
	second := open(t, dir, 10)
	expect(t, rest(t, second, ""), sequence(1, 13))
	add(second, 14, 14)
	expect(t, rest(t, open(t, dir, 10), added[7].Cursor), sequence(9, 14))
}

// TestFullDisk fills the disk. Readers do not notice, the log says it once, and what was not written is written later.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("events-test", dir, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Fatalf("mount tmpfs (tests run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := openLogged(t, dir, 100, slog.New(slog.NewTextHandler(&out, nil)))
		start := l.Last()
		add(l, 1, 5)
		ballast := filepath.Join(dir, "ballast")
		fill(t, ballast)
		for i := 6; i <= 90; i++ { // more than the rest of a page
			add(l, i, i)
			time.Sleep(retryAfter)
		}
		expect(t, rest(t, l, start), sequence(1, 90))
		if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "no space left") {
			t.Errorf("the log has %d lines, want one that names the cause: %s", n, out.String())
		}
		add(l, 91, 120) // past a rotation
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter)
		add(l, 121, 122)
		if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "written again") {
			t.Errorf("the log has %d lines, want a second one: %s", n, out.String())
		}
		expect(t, rest(t, l, start), sequence(1, 122))
		expect(t, rest(t, open(t, dir, 100), start), sequence(1, 122))
	})
}

func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill disk: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRemovedFolder takes the folder away under the log: it is made again at the latest when the files are to be turned over.
func TestRemovedFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events")
		l := open(t, dir, 10)
		start := l.Last()
		add(l, 1, 5)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		add(l, 6, 12)
		time.Sleep(retryAfter)
		add(l, 13, 13)
		expect(t, rest(t, open(t, dir, 10), start), sequence(1, 13))
	})
}

// TestCloseSaves closes the log while the disk is left alone after a failure.
func TestCloseSaves(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 10)
	if err := l.disk.file.Close(); err != nil {
		t.Fatal(err)
	}
	add(l, 1, 3)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, rest(t, open(t, dir, 10), ""), "1 2 3")
}

func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "aaaaaaaa-1", "aaaaaaaa-01", "aaaaaaaa-999999999999999999", "now", "x"} {
		f.Add(seed)
	}
	l, err := Open(f.TempDir(), 2, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	add(l, 1, 5)
	f.Fuzz(func(t *testing.T, text string) {
		list, _, err := l.After(text)
		run, number, bad := parseCursor(text)
		switch {
		case text == "":
		case (err == nil) != (bad == nil):
			t.Errorf("after %q: %v, but parsed: %v", text, err, bad)
		case err == nil && cursor(run, number) != text:
			t.Errorf("%q is read as %s", text, cursor(run, number))
		case err == nil && run != l.run && (len(list) == 0 || list[0].Kind != KindGap):
			t.Errorf("after %q: got %v, want a gap", text, list)
		}
	})
}

func FuzzSegments(f *testing.F) {
	line := func(cursor string) []byte { return []byte(`{"cursor":"` + cursor + `","kind":"claimed"}` + "\n") }
	f.Add(line("aaaaaaaa-1"), line("aaaaaaaa-2"))
	f.Add(line("aaaaaaaa-7"), line("bbbbbbbb-9"))
	f.Add(line("aaaaaaaa-4503599627370496"), line("aaaaaaaa-0"))
	f.Add([]byte("{}\n"), []byte("x"))
	f.Fuzz(func(t *testing.T, older, newer []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{previous: older, current: newer} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l := open(t, dir, 3)
		checkOrder(t, rest(t, l, ""))
		if l.last >= maxNumber-1 {
			return // no log comes this far
		}
		before := l.Last()
		added := l.Append(wire.Event{Kind: "claimed", Claim: "new"})
		for _, l := range []*Log{l, open(t, dir, 3)} {
			all := rest(t, l, "")
			checkOrder(t, all)
			if len(all) == 0 || all[len(all)-1].Cursor != added.Cursor {
				t.Fatalf("the last event is not %s: %v", added.Cursor, all)
			}
		}
		expect(t, rest(t, l, before), "new")
	})
}

func checkOrder(t *testing.T, list []wire.Event) {
	t.Helper()
	last := uint64(0)
	for i, e := range list {
		_, number, err := parseCursor(e.Cursor)
		if err != nil || number <= last {
			t.Fatalf("event %d after number %d has the cursor %s (%v)", i, last, e.Cursor, err)
		}
		last = number
	}
}
