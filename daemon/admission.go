package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sandpool/configs"
	"sandpool/runtime"
)

// admitEvery is how often the host's headroom is measured.
const admitEvery = time.Second

// resources are the names of what admission looks at, in the order of its reasons.
var resources = []string{"memory", "disk", "pids", "files"}

// admission says whether the host has room for more sandboxes. What cannot be measured does not keep them back.
type admission struct {
	headroom func(ctx context.Context) (runtime.Headroom, error)
	reserves func() configs.Reserves
	log      *slog.Logger

	mu     sync.Mutex
	short  map[string]string // why, by resource
	failed bool              // the last measurement
}

// run measures until ctx ends.
func (a *admission) run(ctx context.Context) { every(ctx, admitEvery, func() { a.measure(ctx) }) }

// measure compares what the host has left with what is to be kept free.
func (a *admission) measure(ctx context.Context) {
	left, err := a.headroom(ctx)
	if err != nil && context.Cause(ctx) != nil {
		return
	}
	short := map[string]string{}
	if err == nil {
		short = shortages(left, a.reserves())
	}
	before := a.reason()
	a.mu.Lock()
	news := err != nil && !a.failed
	a.short, a.failed = short, err != nil
	a.mu.Unlock()
	if news {
		a.log.Warn("headroom cannot be measured; starts are not held back", "err", err)
	}
	switch now := a.reason(); {
	case before == "" && now != "":
		a.log.Warn("the host is short; nothing is started", "reason", now)
	case before != "" && now == "":
		a.log.Info("the host has room again")
	}
}

// shortages are the resources of which less is left than is to be kept, and how much that is.
func shortages(left runtime.Headroom, kept configs.Reserves) map[string]string {
	const mib = 1 << 20
	short := map[string]string{}
	check := func(resource string, left uint64, kept int, unit string) {
		if left < uint64(kept) { //nolint:gosec // checked to be positive
			short[resource] = fmt.Sprintf("%s: %d%s left, %d%s are kept free", resource, left, unit, kept, unit)
		}
	}
	check("memory", left.Memory/mib, kept.MemoryMiB, " MiB")
	check("disk", left.Disk/mib, kept.DiskMiB, " MiB")
	check("pids", left.PIDs, kept.PIDs, "")
	check("files", left.Files, kept.Files, "")
	return short
}

// reason says why nothing may be started now, or nothing. It does not block.
func (a *admission) reason() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var reasons []string
	for _, resource := range resources {
		if a.short[resource] != "" {
			reasons = append(reasons, a.short[resource])
		}
	}
	return strings.Join(reasons, "; ")
}

// blocks tells whether a resource holds starts back.
func (a *admission) blocks(resource string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.short[resource] != ""
}
