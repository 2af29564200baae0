package pool

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestOldestFirst has sandboxes that are started at one instant: they are handed out in the order of their starts all the same.
func TestOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 12
		backend := newFakeBackend(t)
		r := newRig(t, backend, onePool(size, size))
		var begun []string
		newID := r.newID
		r.newID = func() string {
			begun = append(begun, newID())
			return begun[len(begun)-1]
		}
		r.run(t)
		time.Sleep(time.Minute)
		var claimed []string
		for range size {
			claim := r.claimOne(t)
			claimed = append(claimed, claim.Sandbox)
		}
		if !slices.Equal(claimed, begun) {
			t.Errorf("handed out %q, started %q", claimed, begun)
		}
	})
}

// TestClockThatWasSetBack adopts sandboxes of a time that is yet to come: they are older than all that comes after.
func TestClockThatWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend(t)
		var want []string
		for i := range 6 {
			// Fractions of different lengths: as texts, the labels are in another order.
			at := time.Now().Add(24*time.Hour + time.Duration(i*10)*time.Millisecond)
			warm, held := record(Available), record(Claimed)
			warm.CreatedAt, held.CreatedAt, held.Grant.ClaimedAt = at, at, at
			held.Grant.ID, held.Grant.RequestID = fmt.Sprintf("c-%d", (i+3)%6), ""
			backend.sandboxes[fmt.Sprintf("warm-%d", i)] = &fakeSandbox{labels: warm.Labels(), status: Paused}
			backend.sandboxes[fmt.Sprintf("held-%d", i)] = &fakeSandbox{labels: held.Labels(), status: Running}
			want = append(want, held.Grant.ID)
		}
		r := newRig(t, backend, onePool(10, 10)) // there is room for four
		for i := range 4 {
			claim := r.claimOne(t)
			if warm := fmt.Sprintf("warm-%d", i); claim.Sandbox != warm {
				t.Errorf("handed out %s, want %s", claim.Sandbox, warm)
			}
			want = append(want, claim.ID)
		}
		var got []string
		for _, claim := range r.Claims() {
			got = append(got, claim.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("claims are %q, want %q", got, want)
		}
	})
}
