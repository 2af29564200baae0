package rest

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// cycles counts the collections that Go began by itself.
func cycles() uint64 {
	now := []metrics.Sample{{Name: "/gc/cycles/automatic:gc-cycles"}}
	metrics.Read(now)
	return now[0].Value.Uint64()
}

var kept [][]byte

// A collection for the clock's sake is the last one until memory is used, and from then on Go collects as it does by itself.
func TestRest(t *testing.T) {
	percent := debug.SetGCPercent(-1)
	debug.SetGCPercent(percent)
	t.Cleanup(func() {
		debug.SetMemoryLimit(math.MaxInt64)
		debug.SetGCPercent(percent)
	})
	began := time.Now()
	p := &pacer{last: began, percent: percent}
	p.collected(began.Add(idle - 1))
	if p.resting || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Fatal("it rests though memory was used a moment ago")
	}
	p.collected(began.Add(2 * idle))
	limit, now := debug.SetMemoryLimit(-1), debug.SetGCPercent(-1)
	if !p.resting || now != -1 || limit > inUse()+2*spare {
		t.Fatalf("resting: %v, percent %d, limit %d of %d in use", p.resting, now, limit, inUse())
	}
	before := cycles()
	for cycles() == before { // what is needed is collected for, however long nothing was
		kept = append(kept, make([]byte, 1<<20))
		if len(kept) > 1<<10 {
			t.Fatal("1 GiB was used without a collection")
		}
	}
	p.collected(began.Add(3 * idle))
	if now := debug.SetGCPercent(percent); p.resting || now != percent || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("resting: %v, percent %d; want Go's own way", p.resting, now)
	}
	kept = nil
}

// Each collection is told of, not the first alone.
func TestCollectionsAreToldOf(t *testing.T) {
	told := make(chan bool, 1)
	onCollection(func() {
		select {
		case told <- true:
		default:
		}
	})
	patience := time.After(time.Minute)
	for n := range 3 {
		for again := true; again; {
			runtime.GC()
			select {
			case <-told:
				again = false
			case <-time.After(time.Millisecond):
			case <-patience:
				t.Fatalf("told of %d collections", n)
			}
		}
	}
}
