package events

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
)

func open(t *testing.T, dir string, keep int) *Log {
	t.Helper()
	return openLogged(t, dir, keep, slog.New(slog.DiscardHandler))
}

func openLogged(t *testing.T, dir string, keep int, log *slog.Logger) *Log {
	t.Helper()
	l, err := Open(dir, keep, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // it may be closed already
	return l
}

// add appends events that are called first to last.
func add(l *Log, first, last int) (added []wire.Event) {
	for i := first; i <= last; i++ {
		added = append(added, l.Append(wire.Event{Kind: "claimed", Claim: strconv.Itoa(i)}))
	}
	return added
}

// rest returns all events behind a cursor.
func rest(t *testing.T, l *Log, after string) (all []wire.Event) {
	t.Helper()
	for {
		list, more, err := l.After(after)
		if err != nil {
			t.Fatal(err)
		}
		if more == nil {
			t.Fatal("no channel for what follows")
		}
		if len(list) == 0 {
			return all
		}
		all = append(all, list...)
		after = list[len(list)-1].Cursor
	}
}

// names joins what events are called; a gap is "gap".
func names(list []wire.Event) string {
	var all []string
	for _, e := range list {
		if e.Kind == KindGap {
			all = append(all, KindGap)
		} else {
			all = append(all, e.Claim)
		}
	}
	return strings.Join(all, " ")
}

func sequence(first, last int) string {
	var all []string
	for i := first; i <= last; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return strings.Join(all, " ")
}

func expect(t *testing.T, got []wire.Event, want string) {
	t.Helper()
	if names(got) != want {
		t.Errorf("got  %s\nwant %s", names(got), want)
	}
}

func TestOrder(t *testing.T) {
	l := open(t, t.TempDir(), 1000)
	if list := rest(t, l, ""); len(list) > 0 {
		t.Errorf("a new log holds %s", names(list))
	}
	start := l.Last()
	added := add(l, 1, 600)
	expect(t, rest(t, l, ""), sequence(1, 600))
	expect(t, rest(t, l, start), sequence(1, 600))
	expect(t, rest(t, l, added[299].Cursor), sequence(301, 600))
	expect(t, rest(t, l, l.Last()), "")
	if l.Last() != added[599].Cursor || added[0].Time.IsZero() {
		t.Errorf("last is %s, want %s; first is of %s", l.Last(), added[599].Cursor, added[0].Time)
	}
	list, _, err := l.After("")
	if len(list) != batch || err != nil {
		t.Errorf("got %d events at once (%v), want %d", len(list), err, batch)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, 100)
	first.Append(wire.Event{Kind: "warning", Claim: "1", Sandbox: "s", Pool: "p", Owner: "uid:1", Message: "m", Detail: map[string]string{"a": "b"}})
	add(first, 2, 5)
	before := rest(t, first, "")
	// It is not closed: a killed daemon does not either.
	second := open(t, dir, 100)
	if after := rest(t, second, ""); !reflect.DeepEqual(after, before) {
		t.Errorf("got  %v\nwant %v", after, before)
	}
	add(second, 6, 7)
	expect(t, rest(t, second, before[2].Cursor), "4 5 6 7")
	expect(t, rest(t, second, first.Last()), "6 7")
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 10)
	add(l, 1, 20)
	expect(t, rest(t, l, ""), sequence(1, 20))
	add(l, 21, 21)
	expect(t, rest(t, l, ""), sequence(11, 21))
	expect(t, rest(t, open(t, dir, 10), ""), sequence(11, 21))
	add(l, 22, 44)
	expect(t, rest(t, open(t, dir, 10), ""), sequence(31, 44))
	files, err := os.ReadDir(dir)
	if len(files) != 2 || err != nil {
		t.Errorf("the folder holds %v (%v), want two files", files, err)
	}
}

func TestRotationGoesOnAfterARestart(t *testing.T) {
	dir := t.TempDir()
	for i := range 44 {
		l := open(t, dir, 10)
		add(l, i+1, i+1)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, rest(t, open(t, dir, 10), ""), sequence(31, 44))
}

func TestGap(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 10)
	added := add(l, 1, 25) // 11 to 25 are kept
	for name, test := range map[string]struct{ after, want, missed string }{
		"kept":                {added[10].Cursor, sequence(12, 25), ""},
		"just before":         {added[9].Cursor, sequence(11, 25), ""},
		"one too old":         {added[8].Cursor, "gap " + sequence(11, 25), "1"},
		"far too old":         {cursor(l.run, 0), "gap " + sequence(11, 25), "10"},
		"to come":             {cursor(l.run, 26), "gap " + sequence(11, 25), ""},
		"of another log":      {cursor("aaaaaaaa", 12), "gap " + sequence(11, 25), ""},
		"of another, old":     {cursor("aaaaaaaa", 2), "gap " + sequence(11, 25), ""},
		"of another, at edge": {cursor("aaaaaaaa", 10), "gap " + sequence(11, 25), ""},
	} {
		t.Run(name, func(t *testing.T) {
			list := rest(t, l, test.after)
			expect(t, list, test.want)
			if list[0].Detail["missed"] != test.missed {
				t.Errorf("missed are %q, want %q", list[0].Detail["missed"], test.missed)
			}
			if list[0].Kind == KindGap {
				expect(t, rest(t, l, list[0].Cursor), sequence(11, 25))
			}
		})
	}
}

func TestGapInAnEmptyLog(t *testing.T) {
	l := open(t, t.TempDir(), 10)
	list := rest(t, l, cursor("aaaaaaaa", 7))
	expect(t, list, "gap")
	add(l, 1, 2)
	expect(t, rest(t, l, list[0].Cursor), "1 2")
}

// TestNumbersGivenAgain loses events as a power cut does: their cursors must not pass for those of the next run's events.
func TestNumbersGivenAgain(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, 10)
	added := add(first, 1, 5)
	path := filepath.Join(dir, current)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := bytes.Join(bytes.SplitAfter(data, []byte("\n"))[:3], nil)
	if err := os.WriteFile(path, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	second := open(t, dir, 10)
	expect(t, rest(t, second, added[4].Cursor), "gap 1 2 3")
	add(second, 6, 9)
	expect(t, rest(t, second, added[4].Cursor), "gap 1 2 3 6 7 8 9")
	expect(t, rest(t, second, added[2].Cursor), "6 7 8 9")
}

func TestBadCursor(t *testing.T) {
	l := open(t, t.TempDir(), 10)
	for _, text := range []string{"now", "1", "-1", "aaaaaaaa", "aaaaaaaa-", "aaaaaaaa-01", "aaaaaaaa-+1", "AAAAAAAA-1", "aaaaaaaa-1 ", "aaaaaaaa-9999999999999999999", "aaaaaaaa-1\n"} {
		if list, _, err := l.After(text); !errdefs.IsInvalidArgument(err) {
			t.Errorf("after %q: got %v and error %v, want an invalid argument", text, list, err)
		}
	}
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, 10, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file passes for a folder")
	}
	if _, err := Open(t.TempDir(), 0, slog.New(slog.DiscardHandler)); !errdefs.IsInvalidArgument(err) {
		t.Errorf("keep 0: got %v, want an invalid argument", err)
	}
}

// TestFollow appends from several goroutines while others follow, and rotates often.
func TestFollow(t *testing.T) {
	const writers, each, readers = 4, 300, 3
	l := open(t, t.TempDir(), writers*each/2)
	start := l.Last()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				l.Append(wire.Event{Kind: "claimed", Claim: fmt.Sprint(w), Message: strconv.Itoa(i)})
			}
		})
	}
	for range readers {
		all.Go(func() { checkFollower(t, l, start, writers, each) })
	}
	all.Wait()
}

// checkFollower follows the log and wants every writer's events, each once and in order.
func checkFollower(t *testing.T, l *Log, after string, writers, each int) {
	next := map[string]int{}
	for seen := 0; seen < writers*each; {
		list, more, err := l.After(after)
		if err != nil {
			t.Error(err)
			return
		}
		if len(list) == 0 {
			<-more
			continue
		}
		for _, e := range list {
			if e.Message != strconv.Itoa(next[e.Claim]) {
				t.Errorf("writer %s: got %s %s, want %d", e.Claim, e.Kind, e.Message, next[e.Claim])
				return
			}
			next[e.Claim]++
			after = e.Cursor
		}
		seen += len(list)
	}
}
