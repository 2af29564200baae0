// Package line has owners take turns: none of them waits for all that another one has asked for.
package line

import (
	"iter"
	"slices"
)

// Line holds what waits: first come first served within an owner, in turns between owners. Its zero value is ready. Whoever uses it
// guards it.
type Line[T comparable] struct {
	waiting []place[T] // in the order in which they are served
	round   uint64     // of the last that was served
}

// place is one that waits. In each round every owner is served once.
type place[T comparable] struct {
	what  T
	owner string
	round uint64
}

// Len is how many wait.
func (l *Line[T]) Len() int { return len(l.waiting) }

// Add has one more wait. An owner of whom nobody waits comes into the round after the present one.
func (l *Line[T]) Add(owner string, what T) {
	round := l.round
	for _, p := range l.waiting {
		if p.owner == owner {
			round = max(round, p.round)
		}
	}
	round++
	at := len(l.waiting)
	for at > 0 && l.waiting[at-1].round > round {
		at--
	}
	l.waiting = slices.Insert(l.waiting, at, place[T]{what, owner, round})
}

// All goes through those that wait and their owners, in the order in which they are served.
func (l *Line[T]) All() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, p := range l.waiting {
			if !yield(p.owner, p.what) {
				return
			}
		}
	}
}

// Serve takes one out of the line whose turn it is. All that are served in the order of All get their turns.
func (l *Line[T]) Serve(what T) {
	l.waiting = slices.DeleteFunc(l.waiting, func(p place[T]) bool {
		if p.what == what {
			l.round = max(l.round, p.round)
		}
		return p.what == what
	})
}

// Remove takes one out that waits no longer; it need not be in the line.
func (l *Line[T]) Remove(what T) {
	l.waiting = slices.DeleteFunc(l.waiting, func(p place[T]) bool { return p.what == what })
}

// Clear takes all out and returns them.
func (l *Line[T]) Clear() []T {
	all := make([]T, len(l.waiting))
	for i, p := range l.waiting {
		all[i] = p.what
	}
	l.waiting = nil
	return all
}
