// Package shim is a file more in containerd's package of that name, and built with it: see build_shim in scripts/stack.sh.
package shim

import (
	"runtime"
	"runtime/debug"
	"time"
)

const (
	worthFreeing = 256 << 10 // bytes that were allocated since memory was given back
	mostMemory   = 32 << 20  // bytes at which garbage is collected before that

	firstPause, longestPause = 30 * time.Second, 16 * time.Minute
)

var (
	allocated uint64        // what had been allocated when memory was given back
	pause     time.Duration // the last one, if nothing was found
)

// freeMemory collects garbage and gives memory back to the system, if there is some. It is called every 30 s, but not before it has returned.
// In hundreds of shims whose sandboxes rest each collection would be for nothing, and Go would begin one every two minutes by itself. A look
// takes some tenths of a millisecond, too, so there are fewer and fewer.
func freeMemory() {
	if allocated == 0 { // the first time
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(mostMemory)
	}
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	if now.TotalAlloc-allocated < worthFreeing {
		pause = min(max(2*pause, firstPause), longestPause)
		time.Sleep(pause)
		return
	}
	pause = 0
	debug.FreeOSMemory()
	runtime.ReadMemStats(&now)
	allocated = now.TotalAlloc
}
