package checkpoint

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestOrder has checkpoints of one instant, and then a clock that is set back: the order in which they were taken is that of the list,
// and the newest is what a policy keeps, also after a restart.
func TestOrder(t *testing.T) {
	for name, step := range map[string]time.Duration{"one instant": 0, "the clock is set back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openTemp(t)
				var want []string
				for i := range 8 {
					m := create(t, s, Manifest{})
					m.CreatedAt = m.CreatedAt.Add(time.Duration(i) * step)
					s.entries[m.ID].manifest = m
					if err := writeManifest(s.path(m.ID), m); err != nil {
						t.Fatal(err)
					}
					want = append(want, m.ID)
				}
				again := open(t, s.dir, func(string) {})
				want = append(want, create(t, again, Manifest{}).ID)
				if got := ids(again.List()); !slices.Equal(got, want) {
					t.Errorf("after a restart: %q, want %q", got, want)
				}
				if got := pruned(again.Prune(Policy{All: Bounds{Count: 1}}, time.Now())); !slices.Equal(got, want[:8]) {
					t.Errorf("deleted %q, want all but the newest of %q", got, want)
				}
			})
		})
	}
}

// TestOrderOfOldManifests has manifests of a daemon that gave no numbers: they are older than any with one.
func TestOrderOfOldManifests(t *testing.T) {
	s := openTemp(t)
	var want []string
	for i := range 3 {
		m := create(t, s, Manifest{})
		m.Seq, m.CreatedAt = 0, m.CreatedAt.Add(time.Duration(i)*time.Hour)
		if err := writeManifest(s.path(m.ID), m); err != nil {
			t.Fatal(err)
		}
		want = append(want, m.ID)
	}
	again := open(t, s.dir, func(string) {})
	want = append(want, create(t, again, Manifest{}).ID)
	if got := ids(again.List()); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}
