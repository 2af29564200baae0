// Package rest keeps Go from collecting garbage only because two minutes have gone by, which costs a sentry that is paused some milliseconds
// each time, and a host hundreds of times as much.
package rest

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	idle  = 110 * time.Second // after so long without a collection the next one is Go's for the clock's sake
	spare = 8 << 20           // bytes by which a process grows until it collects garbage again
)

// pacer switches collections off after one that nothing but the clock asked for, and on again when memory is used.
type pacer struct {
	last    time.Time // of the last collection
	percent int       // GOGC, as it was
	resting bool
}

// Begin has it done in this process. Until it rests Go collects as it does by itself.
func Begin() {
	percent := debug.SetGCPercent(-1)
	debug.SetGCPercent(percent)
	if percent > 0 {
		p := pacer{last: time.Now(), percent: percent}
		onCollection(func() { p.collected(time.Now()) })
	}
}

// onCollection has something done after each collection: Go finalizes an object that nothing uses.
func onCollection(do func()) {
	type unused struct{ do func() }
	runtime.SetFinalizer(&unused{do}, func(u *unused) {
		u.do()
		onCollection(u.do)
	})
}

func (p *pacer) collected(now time.Time) {
	since := now.Sub(p.last)
	p.last = now
	switch {
	case p.resting:
		p.resting = false
		debug.SetGCPercent(p.percent)
		debug.SetMemoryLimit(math.MaxInt64)
	case since >= idle:
		p.resting = true
		debug.FreeOSMemory()                  // which nobody does while there are no collections
		debug.SetMemoryLimit(inUse() + spare) // first: without either there would be no collection at all
		debug.SetGCPercent(-1)
	}
}

// inUse is what counts against Go's limit of memory, in bytes.
func inUse() int64 {
	now := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(now)
	return int64(now[0].Value.Uint64()) - int64(now[1].Value.Uint64())
}
