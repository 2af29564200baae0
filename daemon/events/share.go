package events

import (
	"slices"
	"time"

	"sandpool/daemon/wire"
)

// Everybody is the owner of a gap that may be anybody's.
const Everybody = "*"

// trim returns what is kept of a list, whose oldest is first: keep events, or all if they are fewer. An owner that has no more than an
// equal part loses none, and who has the most loses the oldest first. Where an owner's newest lost one was, there is a gap of that
// owner's instead.
func trim(list []wire.Event, keep int, now time.Time) []wire.Event {
	left := shares(list, keep)
	gapped := map[string]bool{}
	var kept []wire.Event
	for _, e := range slices.Backward(list) {
		if e.Kind != KindGap && left[e.Owner] > 0 {
			left[e.Owner]--
			kept = append(kept, e)
		} else if !gapped[e.Owner] {
			gapped[e.Owner] = true
			if e.Kind != KindGap {
				e = gapAt(e.Cursor, e.Owner, now)
			}
			kept = append(kept, e)
		}
	}
	slices.Reverse(kept)
	return kept
}

// shares is how many events of each owner are kept: the same of all who have as many, and what others leave goes to those who have more.
func shares(list []wire.Event, keep int) map[string]int {
	counts := map[string]int{}
	for _, e := range list {
		if e.Kind != KindGap {
			counts[e.Owner]++
		}
	}
	owners := make([]string, 0, len(counts))
	for owner := range counts {
		owners = append(owners, owner)
	}
	slices.SortFunc(owners, func(a, b string) int { return counts[a] - counts[b] })
	for i, owner := range owners {
		counts[owner] = min(counts[owner], keep/(len(owners)-i))
		keep -= counts[owner]
	}
	return counts
}

func gapAt(cursor, owner string, at time.Time) wire.Event {
	return wire.Event{Cursor: cursor, Time: at, Kind: KindGap, Owner: owner}
}
