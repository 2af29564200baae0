package events

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"

	"sandpool/daemon/wire"
)

// TestShares has one owner with many events and others with few.
func TestShares(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 10)
	quiet := l.Append(wire.Event{Claim: "q1", Owner: "uid:1"})
	l.Append(wire.Event{Claim: "q2", Owner: "uid:1"})
	l.Append(wire.Event{Claim: "image"})
	loud := l.Append(wire.Event{Claim: "1", Owner: "uid:2"})
	for i := range 57 {
		l.Append(wire.Event{Claim: strconv.Itoa(i + 2), Owner: "uid:2"})
	}
	for name, l := range map[string]*Log{"in memory": l, "from disk": open(t, dir, 10)} {
		t.Run(name, func(t *testing.T) {
			kept := sequence(51, 58)
			expect(t, rest(t, l, ""), "q1 q2 image "+kept)
			expect(t, rest(t, l, quiet.Cursor), "q2 image gap "+kept)
			list := rest(t, l, loud.Cursor)
			expect(t, list, "gap "+kept)
			if gap := list[0]; gap.Owner != "uid:2" || gap.Detail["missed"] != "49" || gap.Time.IsZero() {
				t.Errorf("gap is %+v", gap)
			}
			expect(t, rest(t, l, list[0].Cursor), kept)
		})
	}
}

// TestCrashInARotation crashes between the two files: the newer one still has what the older one was made of.
func TestCrashInARotation(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 10)
	all := []wire.Event{l.Append(wire.Event{Claim: "quiet", Owner: "uid:1"})}
	for i := range 30 {
		all = append(all, l.Append(wire.Event{Claim: strconv.Itoa(i + 1), Owner: "uid:2"}))
	}
	if err := replace(filepath.Join(dir, current), all[20:30]); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, 10)
	expect(t, rest(t, again, ""), "quiet "+sequence(21, 29))
	expect(t, rest(t, again, all[0].Cursor), "gap "+sequence(21, 29))
	add(again, 31, 32)
	expect(t, rest(t, open(t, dir, 10), all[25].Cursor), "26 27 28 29 31 32")
}

// TestSharesAreFair appends at random, over restarts, and checks what each owner is promised: an equal part of the newest, that all
// is there or a gap stands in its place, and that nothing is a gap of an owner who lost nothing.
func TestSharesAreFair(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		keep, owners := random.IntN(12)+8, random.IntN(4)+1
		dir := t.TempDir()
		l := open(t, dir, keep)
		told := map[string][]wire.Event{}
		for range random.IntN(150) {
			if random.IntN(20) == 0 {
				l = open(t, dir, keep)
			}
			owner := fmt.Sprint("uid:", min(random.IntN(owners), random.IntN(owners)))
			told[owner] = append(told[owner], l.Append(wire.Event{Claim: owner, Owner: owner}))
		}
		kept := 0
		for owner, all := range told {
			missing := len(all) - len(of(rest(t, l, ""), owner))
			kept += len(all) - missing
			if len(all)-missing < min(len(all), keep/len(told)) {
				t.Errorf("seed %d: %s has %d events of %d, and a share of %d", seed, owner, len(all)-missing, len(all), keep/len(told))
			}
			for i, e := range all {
				checkReader(t, rest(t, l, e.Cursor), owner, all[i+1:], missing > i+1)
			}
		}
		if kept > 2*keep {
			t.Errorf("seed %d: %d events are kept, want at most %d", seed, kept, 2*keep)
		}
	}
}

// of returns an owner's events of a list, gaps left out.
func of(list []wire.Event, owner string) (its []wire.Event) {
	for _, e := range list {
		if e.Owner == owner && e.Kind != KindGap {
			its = append(its, e)
		}
	}
	return its
}

// checkReader checks what the owner gets of a list, where want is what happened.
func checkReader(t *testing.T, list []wire.Event, owner string, want []wire.Event, lost bool) {
	t.Helper()
	gapped := false
	for _, e := range list {
		gapped = gapped || e.Kind == KindGap && (e.Owner == owner || e.Owner == Everybody)
	}
	got := of(list, owner)
	if gapped != lost {
		t.Errorf("%s is told of a gap: %t, and lost some: %t", owner, gapped, lost)
	}
	if lost {
		want = want[len(want)-min(len(got), len(want)):]
	}
	for i, e := range want {
		if len(got) != len(want) || got[i].Cursor != e.Cursor {
			t.Fatalf("%s got %v, want %v", owner, got, want)
		}
	}
}
