package checkpoint

import (
	"maps"
	"slices"
	"time"
)

// Bounds are how much is kept. One of zero is none.
type Bounds struct {
	Count int
	Bytes int64
}

// Policy says which checkpoints are kept.
type Policy struct {
	MaxAge time.Duration   // zero: any
	Each   Bounds          // of each owner's checkpoints
	All    Bounds          // of all together
	Keep   map[string]bool // ids that are kept whatever the bounds say; they count all the same
	// Fresh is the id of one that was just taken. If it does not fit it goes, and no other for it.
	Fresh string
}

// Why a checkpoint was deleted.
const (
	WhyAge   = "age"
	WhyOwner = "owner" // the bounds of its owner
	WhyTotal = "total" // the bounds of all together
)

// Pruned is a checkpoint that was deleted.
type Pruned struct {
	Manifest

	Why string
}

// Prune deletes what a policy does not keep and returns what it deleted. One in use stays.
//
// Each owner's oldest go first. The bounds of an owner cost nobody else's; those of all together are the biggest owner's matter, and
// cost nothing to an owner who has no more than an equal part of them.
func (s *Store) Prune(p Policy, now time.Time) []Pruned {
	p.Keep = maps.Clone(p.Keep)
	if p.Keep == nil {
		p.Keep = map[string]bool{}
	}
	s.addUsed(p.Keep)
	var deleted []Pruned
	for _, v := range p.victims(s.List(), now) {
		if err := s.Delete(v.ID); err != nil {
			s.log.Debug("checkpoint could not be deleted; it is tried again", "checkpoint", v.ID, "err", err)
			if _, err := s.Get(v.ID); err == nil {
				continue
			}
		}
		deleted = append(deleted, v)
	}
	return deleted
}

// addUsed adds the ids of those in use.
func (s *Store) addUsed(ids map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if e.users > 0 {
			ids[id] = true
		}
	}
}

// victims are what is to be deleted of all, which are in the order of their age.
func (p Policy) victims(all []Manifest, now time.Time) []Pruned {
	gone := p.drop(all, now)
	at := slices.IndexFunc(gone, func(v Pruned) bool { return v.ID == p.Fresh })
	if at < 0 {
		return gone
	}
	others := slices.DeleteFunc(slices.Clone(all), func(m Manifest) bool { return m.ID == p.Fresh })
	return append(p.drop(others, now), gone[at])
}

// drop is victims without a thought for what Fresh costs others.
func (p Policy) drop(all []Manifest, now time.Time) []Pruned {
	h := pile{policy: p, left: slices.Clone(all)}
	for i := 0; i < len(h.left); {
		if m := h.left[i]; p.MaxAge > 0 && now.Sub(m.CreatedAt) > p.MaxAge && !p.Keep[m.ID] {
			h.remove(i, WhyAge)
		} else {
			i++
		}
	}
	one := func(Manifest) int64 { return 1 }
	size := func(m Manifest) int64 { return m.Bytes }
	h.keepEach(int64(p.Each.Count), one)
	h.keepEach(p.Each.Bytes, size)
	h.keepAll(int64(p.All.Count), one)
	h.keepAll(p.All.Bytes, size)
	return h.gone
}

// pile is checkpoints from which some are taken.
type pile struct {
	policy Policy
	left   []Manifest // the oldest first
	gone   []Pruned
}

func (h *pile) remove(i int, why string) {
	h.gone = append(h.gone, Pruned{h.left[i], why})
	h.left = slices.Delete(h.left, i, i+1)
}

// oldest is the index of the oldest of an owner's that may go, or -1.
func (h *pile) oldest(owner string) int {
	return slices.IndexFunc(h.left, func(m Manifest) bool { return m.Owner == owner && !h.policy.Keep[m.ID] })
}

// use is how much of something each owner's take.
func (h *pile) use(of func(Manifest) int64) map[string]int64 {
	used := map[string]int64{}
	for _, m := range h.left {
		used[m.Owner] += of(m)
	}
	return used
}

// keepEach keeps each owner to a bound.
func (h *pile) keepEach(bound int64, of func(Manifest) int64) {
	if bound == 0 {
		return
	}
	for owner, used := range h.use(of) {
		for i := h.oldest(owner); i >= 0 && used > bound; i = h.oldest(owner) {
			used -= of(h.left[i])
			h.remove(i, WhyOwner)
		}
	}
}

// keepAll keeps all together to a bound, at the cost of whoever takes the most.
func (h *pile) keepAll(bound int64, of func(Manifest) int64) {
	if bound == 0 {
		return
	}
	used := h.use(of)
	owners, total := int64(len(used)), int64(0)
	for _, n := range used {
		total += n
	}
	for total > bound {
		i := h.biggest(used, bound/owners)
		if i < 0 { // those that take too much are kept: the fresh one finds no room
			i = slices.IndexFunc(h.left, func(m Manifest) bool { return m.ID == h.policy.Fresh && !h.policy.Keep[m.ID] })
		}
		if i < 0 {
			return
		}
		n := of(h.left[i])
		used[h.left[i].Owner] -= n
		total -= n
		h.remove(i, WhyTotal)
	}
}

// biggest is the index of the oldest that may go of the owner who takes the most, and more than a share, or -1. Of two owners who take the same
// it is the one with the fresh one, or the one with the older.
func (h *pile) biggest(used map[string]int64, share int64) int {
	fresh := ""
	if i := slices.IndexFunc(h.left, func(m Manifest) bool { return m.ID == h.policy.Fresh }); i >= 0 {
		fresh = h.left[i].Owner
	}
	found := -1
	for i, m := range h.left {
		n := used[m.Owner]
		if n <= share || h.policy.Keep[m.ID] {
			continue
		}
		if found < 0 || n > used[h.left[found].Owner] || n == used[h.left[found].Owner] && m.Owner == fresh && h.left[found].Owner != fresh {
			found = i
		}
	}
	return found
}
