package lifetime

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// sweep bounds how late a deadline can be noticed when the wall clock is stepped or the host was suspended.
const sweep = 5 * time.Second

// Keeper calls a function when the wall clock passes a deadline. Its zero value is not usable; make one with NewKeeper.
type Keeper struct {
	wake chan struct{}

	mu    sync.Mutex
	queue deadlines
	byID  map[string]*deadline
}

// NewKeeper makes a Keeper with no deadlines.
func NewKeeper() *Keeper {
	return &Keeper{wake: make(chan struct{}, 1), byID: map[string]*deadline{}}
}

// Set gives id the deadline at, in place of the one it had.
func (k *Keeper) Set(id string, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at = at.Round(0) // wall time only: the deadline moves with the clock, as its label does
	if d, ok := k.byID[id]; ok {
		d.at = at
		heap.Fix(&k.queue, d.index)
	} else {
		d := &deadline{id: id, at: at}
		k.byID[id] = d
		heap.Push(&k.queue, d)
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Remove forgets the deadline of id, if it has one.
func (k *Keeper) Remove(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d, ok := k.byID[id]; ok {
		heap.Remove(&k.queue, d.index)
		delete(k.byID, id)
	}
}

// Run calls expire for each deadline that passes, earliest first, until ctx ends. expire must not block.
func (k *Keeper) Run(ctx context.Context, expire func(id string)) {
	for {
		due, next := k.due(time.Now())
		for _, id := range due {
			expire(id)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-k.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// due takes the deadlines that passed and says when to look again.
func (k *Keeper) due(now time.Time) (ids []string, next time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now = now.Round(0)
	for len(k.queue) > 0 && !k.queue[0].at.After(now) {
		d := heap.Pop(&k.queue).(*deadline)
		delete(k.byID, d.id)
		ids = append(ids, d.id)
	}
	if len(k.queue) == 0 {
		return ids, sweep
	}
	return ids, min(sweep, k.queue[0].at.Sub(now))
}

type deadline struct {
	id    string
	at    time.Time
	index int
}

// deadlines is a heap.Interface, earliest first.
type deadlines []*deadline

func (q deadlines) Len() int           { return len(q) }
func (q deadlines) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q deadlines) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *deadlines) Push(x any) {
	d := x.(*deadline)
	d.index = len(*q)
	*q = append(*q, d)
}

func (q *deadlines) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return d
}
