// Package shim is a file more in containerd's package of that name, and built with it: see build_shim in scripts/stack.sh.
package shim

import (
	"runtime"
	"runtime/debug"
)

const (
	worthFreeing = 256 << 10 // bytes that were allocated since memory was given back
	mostMemory   = 32 << 20  // bytes at which garbage is collected before that
)

// allocated is what had been allocated when memory was given back.
var allocated uint64

// freeMemory collects garbage and gives memory back to the system, if there is some. It is called every 30 s. In hundreds of shims whose
// sandboxes rest each collection would be for nothing, and Go would begin one every two minutes by itself.
func freeMemory() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(mostMemory)
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	if now.TotalAlloc-allocated < worthFreeing {
		return
	}
	debug.FreeOSMemory()
	runtime.ReadMemStats(&now)
	allocated = now.TotalAlloc
}
