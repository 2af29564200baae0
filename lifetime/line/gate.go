package line

import (
	"context"
	"sync"
)

// Gate lets a number of acts run at once. Owners take turns, and none has all the slots: the last of several is for another one.
type Gate struct {
	slots int

	mu     sync.Mutex
	held   int
	owners map[string]int // how many slots each holds
	line   Line[chan struct{}]
}

// NewGate makes a Gate of a number of slots.
func NewGate(slots int) *Gate { return &Gate{slots: slots, owners: map[string]int{}} }

// Pass acts in a slot, for which it waits unless ctx ends before.
func (g *Gate) Pass(ctx context.Context, owner string, act func()) {
	turn := make(chan struct{})
	g.mu.Lock()
	g.line.Add(owner, turn)
	g.admit()
	g.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
		if g.leave(turn) {
			return
		}
	}
	defer g.done(owner)
	if context.Cause(ctx) == nil {
		act()
	}
}

// admit gives free slots away, first to the owners that hold the fewest.
func (g *Gate) admit() {
	for g.held < g.slots {
		var next chan struct{}
		var of string
		fewest := max(1, g.slots-1)
		for owner, turn := range g.line.All() {
			if held := g.owners[owner]; held < fewest {
				next, of, fewest = turn, owner, held
			}
		}
		if next == nil {
			return
		}
		g.line.Serve(next)
		g.held++
		g.owners[of]++
		close(next)
	}
}

// leave takes one that waits out of the line; false if it has got a slot.
func (g *Gate) leave(turn chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-turn:
		return false
	default:
		g.line.Remove(turn)
		return true
	}
}

func (g *Gate) done(owner string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held--
	if g.owners[owner]--; g.owners[owner] == 0 {
		delete(g.owners, owner)
	}
	g.admit()
}
