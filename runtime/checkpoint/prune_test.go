package checkpoint

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func pruned(all []Pruned) []string {
	var ids []string
	for _, v := range all {
		ids = append(ids, v.ID)
	}
	return ids
}

// TestPruneByOwner has stores whose checkpoints are named by their owner, oldest first, with a size of as many MiB as the second
// letter says. The last one was just taken.
func TestPruneByOwner(t *testing.T) {
	for name, test := range map[string]struct {
		policy Policy
		all    []string
		keep   []string
		want   []string
	}{
		"another's excess":               {Policy{All: Bounds{Count: 3}}, []string{"b1", "a1", "a1", "a1"}, nil, []string{"1:a1 total"}},
		"its own bound":                  {Policy{Each: Bounds{Count: 2}}, []string{"b1", "a1", "a1", "a1"}, nil, []string{"1:a1 owner"}},
		"its own bytes":                  {Policy{Each: Bounds{Bytes: 4}}, []string{"b3", "a1", "a1", "a3"}, nil, []string{"1:a1 owner"}},
		"one over all":                   {Policy{All: Bounds{Bytes: 8}}, []string{"b1", "a1", "a9"}, nil, []string{"2:a9 total"}},
		"one over its own":               {Policy{Each: Bounds{Bytes: 8}}, []string{"b1", "a1", "a9"}, nil, []string{"2:a9 owner"}},
		"the biggest pays":               {Policy{All: Bounds{Bytes: 8}}, []string{"a1", "b4", "b3", "c1"}, nil, []string{"1:b4 total"}},
		"of two the one that wants more": {Policy{All: Bounds{Count: 1}}, []string{"b1", "a1"}, nil, []string{"1:a1 total"}},
		"kept ones cost its own":         {Policy{Each: Bounds{Count: 2}}, []string{"a1", "a1", "a1"}, []string{"0", "1"}, []string{"2:a1 owner"}},
		"kept ones cost nobody else":     {Policy{All: Bounds{Count: 4}}, []string{"b1", "a1", "a1", "a1", "a1"}, []string{"1", "2", "3"}, []string{"4:a1 total"}},
		"kept ones leave a third none":   {Policy{All: Bounds{Count: 4}}, []string{"b1", "a1", "a1", "a1", "c1"}, []string{"1", "2", "3"}, []string{"4:c1 total"}},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			var all []Manifest
			for i, text := range test.all {
				all = append(all, Manifest{ID: fmt.Sprint(i, ":", text), Owner: text[:1], Bytes: int64(text[1] - '0'), CreatedAt: now})
			}
			p := test.policy
			p.Fresh, p.Keep = all[len(all)-1].ID, map[string]bool{}
			for _, m := range all {
				p.Keep[m.ID] = slices.Contains(test.keep, m.ID[:1])
			}
			var got []string
			for _, v := range p.victims(all, now) {
				got = append(got, v.ID+" "+v.Why)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("deleted %q, want %q", got, test.want)
			}
		})
	}
}

// TestPruneIsFair prunes random stores, and checks what each owner is promised.
func TestPruneIsFair(t *testing.T) {
	for seed := range uint64(20000) {
		random := rand.New(rand.NewPCG(seed, 0))
		now := time.Now()
		p := Policy{MaxAge: 100 * time.Hour, Each: Bounds{random.IntN(6), random.Int64N(30)}, All: Bounds{random.IntN(12), random.Int64N(60)}, Keep: map[string]bool{}}
		var all []Manifest
		for i := range random.IntN(14) + 1 {
			m := Manifest{ID: fmt.Sprint(i), Owner: fmt.Sprint("uid:", random.IntN(4)), Bytes: random.Int64N(12), CreatedAt: now.Add(-time.Hour)}
			if random.IntN(8) == 0 {
				m.CreatedAt = now.Add(-200 * time.Hour)
			}
			p.Keep[m.ID] = random.IntN(5) == 0
			all = append(all, m)
		}
		if last := all[len(all)-1]; random.IntN(3) > 0 && last.CreatedAt.After(now.Add(-p.MaxAge)) {
			p.Fresh = last.ID
			delete(p.Keep, last.ID)
		}
		if fault := unfair(p, all, p.victims(all, now), now); fault != "" {
			t.Fatalf("seed %d: policy %+v, all %+v, deleted %+v: %s", seed, p, all, p.victims(all, now), fault)
		}
	}
}

// unfair says which promise is not kept, or nothing.
func unfair(p Policy, all []Manifest, gone []Pruned, now time.Time) string {
	if slices.Contains(pruned(gone), p.Fresh) { // then it is as if it had never been there
		all = slices.DeleteFunc(slices.Clone(all), func(m Manifest) bool { return m.ID == p.Fresh })
		gone = slices.DeleteFunc(slices.Clone(gone), func(v Pruned) bool { return v.ID == p.Fresh })
		p.Fresh = ""
	}
	young := slices.DeleteFunc(slices.Clone(all), func(m Manifest) bool { return now.Sub(m.CreatedAt) > p.MaxAge && !p.Keep[m.ID] })
	before, left := uses(young), uses(young)
	gave, spared := map[string]bool{}, map[string]bool{}
	for _, v := range gone {
		if p.Keep[v.ID] {
			return v.ID + " was to be kept"
		}
		if v.Why != WhyAge {
			gave[v.Owner] = true
			u := left[v.Owner]
			left[v.Owner] = Bounds{u.Count - 1, u.Bytes - v.Bytes}
		}
	}
	mayGo := map[string]bool{}
	for _, m := range young {
		switch isGone := slices.Contains(pruned(gone), m.ID); {
		case p.Keep[m.ID]:
		case isGone && spared[m.Owner]:
			return m.ID + " is younger than one that stays"
		case !isGone:
			spared[m.Owner], mayGo[m.Owner] = true, true
		}
	}
	total := Bounds{}
	for owner, u := range left {
		total = Bounds{total.Count + u.Count, total.Bytes + u.Bytes}
		if mayGo[owner] && (p.Each.Count > 0 && u.Count > p.Each.Count || p.Each.Bytes > 0 && u.Bytes > p.Each.Bytes) {
			return owner + " has more than an owner may"
		}
		if n := len(before); gave[owner] && within(before[owner], p.Each, 1) && within(before[owner], p.All, n) {
			return owner + " lost some of its share"
		}
	}
	if len(mayGo) == len(left) && !within(total, p.All, 1) && !slices.Contains(slices.Collect(maps.Values(p.Keep)), true) {
		return "all are over the bound"
	}
	return ""
}

func uses(all []Manifest) map[string]Bounds {
	used := map[string]Bounds{}
	for _, m := range all {
		u := used[m.Owner]
		used[m.Owner] = Bounds{u.Count + 1, u.Bytes + m.Bytes}
	}
	return used
}

// within tells whether u is at most an n-th part of the bounds.
func within(u, b Bounds, n int) bool {
	return (b.Count == 0 || u.Count <= b.Count/n) && (b.Bytes == 0 || u.Bytes <= b.Bytes/int64(n))
}
