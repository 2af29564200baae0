package line

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// serve takes n out of the line and returns them as one string.
func serve(l *Line[string], n int) string {
	var served []string
	for _, what := range l.All() {
		if len(served) < n {
			served = append(served, what)
		}
	}
	for _, what := range served {
		l.Serve(what)
	}
	return strings.Join(served, " ")
}

func TestOwnersTakeTurns(t *testing.T) {
	var l Line[string]
	for _, what := range []string{"a1", "a2", "a3", "a4", "b1", "b2", "c1"} {
		l.Add(what[:1], what)
	}
	if got := serve(&l, 2); got != "a1 b1" {
		t.Errorf("first %q", got)
	}
	l.Add("b", "b3") // who asks again each time gets no more than the others
	l.Add("d", "d1")
	l.Remove("a3")
	if got := serve(&l, 9); got != "c1 a2 b2 d1 b3 a4" {
		t.Errorf("then %q", got)
	}
	l.Add("b", "b4")
	l.Add("a", "a5")
	if got := serve(&l, 9); got != "b4 a5" || l.Len() != 0 {
		t.Errorf("at last %q, %d left", got, l.Len())
	}
}

func TestServeOutOfTurn(t *testing.T) {
	var l Line[string]
	for _, what := range []string{"a1", "a2", "a3", "b1"} {
		l.Add(what[:1], what)
	}
	l.Serve("a2") // as if its owner had had two turns
	l.Add("b", "b2")
	l.Serve("gone")
	if all := l.Clear(); !slices.Equal(all, []string{"a1", "b1", "a3", "b2"}) || l.Len() != 0 {
		t.Errorf("left were %q", all)
	}
}

func TestGateKeepsASlotForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(3)
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		var all sync.WaitGroup
		var mu sync.Mutex
		running := map[string]int{}
		pass := func(ctx context.Context, owner string) {
			all.Go(func() {
				g.Pass(ctx, owner, func() {
					mu.Lock()
					running[owner]++
					mu.Unlock()
					<-release
				})
			})
			synctest.Wait()
		}
		for range 5 {
			pass(ctx, "greedy")
		}
		pass(t.Context(), "other")
		pass(t.Context(), "third") // all slots are taken
		if running["greedy"] != 2 || running["other"] != 1 || running["third"] != 0 {
			t.Errorf("running: %v", running)
		}
		release <- struct{}{} // whoever it is, the third is next, or another of the greedy one is not
		synctest.Wait()
		if running["third"] != 1 {
			t.Errorf("after one has ended: %v", running)
		}
		cancel() // those that wait leave
		close(release)
		all.Wait()
		if g.held != 0 || len(g.owners) != 0 || g.line.Len() != 0 {
			t.Errorf("left: %d held, %v, %d wait", g.held, g.owners, g.line.Len())
		}
	})
}

func TestGateOfOneSlot(t *testing.T) {
	g, passed := NewGate(1), false
	g.Pass(t.Context(), "a", func() { passed = true })
	if !passed {
		t.Error("nobody got the only slot")
	}
}
