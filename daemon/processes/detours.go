package processes

import (
	"fmt"
	"sync"
)

// Detours counts the commands that process 1 should have run, and others did.
type Detours struct {
	mu    sync.Mutex
	count int
	last  string
}

// Note counts one, in a claim, and keeps why.
func (d *Detours) Note(claim string, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	d.last = fmt.Sprintf("in claim %s: %v", claim, why)
}

// Warnings says so, if there were any.
func (d *Detours) Warnings() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count == 0 {
		return nil
	}
	return []string{fmt.Sprintf("commands with a terminal that started slowly, by the shim: %d, the last %s", d.count, d.last)}
}
