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

// Next takes the first out of the line whose owner may be served; false if there is none. All may with nil.
func (l *Line[T]) Next(may func(owner string) bool) (what T, ok bool) {
	for i, p := range l.waiting {
		if may == nil || may(p.owner) {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			l.round = max(l.round, p.round)
			return p.what, true
		}
	}
	return what, false
}

// Owners goes through the owners of those that wait, in the order in which these are served.
func (l *Line[T]) Owners() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, p := range l.waiting {
			if !yield(p.owner) {
				return
			}
		}
	}
}

// Remove takes one out that need not be in the line.
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
