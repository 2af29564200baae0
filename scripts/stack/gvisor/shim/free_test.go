package shim

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

var kept []byte

// Where nothing happens there are fewer and fewer looks, and where memory was used it is given back at once.
func TestFreeMemory(t *testing.T) {
	percent := debug.SetGCPercent(100)
	defer debug.SetGCPercent(percent)
	defer debug.SetMemoryLimit(math.MaxInt64)
	allocated, pause = 0, 0
	synctest.Test(t, func(t *testing.T) {
		for round := range 2 {
			kept = make([]byte, 2*worthFreeing)
			before := collections()
			if took := look(); took != 0 || collections() == before {
				t.Errorf("round %d: memory was used, and %s later there were %d collections", round, took, collections()-before)
			}
			before = collections()
			for _, want := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause, 8 * firstPause, 16 * firstPause, longestPause, longestPause} {
				if took := look(); took != want {
					t.Errorf("round %d: a look in vain took %s, want %s", round, took, want)
				}
			}
			if after := collections(); after != before {
				t.Errorf("round %d: %d collections for nothing", round, after-before)
			}
		}
		if limit := debug.SetMemoryLimit(-1); limit != mostMemory || debug.SetGCPercent(-1) != -1 {
			t.Errorf("limit %d, want %d and no other", limit, mostMemory)
		}
	})
}

// look is how long one takes.
func look() time.Duration {
	began := time.Now()
	freeMemory()
	return time.Since(began)
}

func collections() uint32 {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return now.NumGC
}
