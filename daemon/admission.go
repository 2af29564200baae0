package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/lifetime/wait"
	"sandpool/pool"
	"sandpool/runtime/hostproc"
)

// admitEvery is how often the host's headroom is measured.
const admitEvery = time.Second

// resources are the names of what admission looks at, in the order of its reasons.
var resources = []string{"memory", "disk", "pids", "files"}

// admission says whether the host has room for more sandboxes. What cannot be measured does not keep them back.
type admission struct {
	headroom func(ctx context.Context) (hostproc.Headroom, error)
	reserves func() configs.Reserves
	log      *slog.Logger

	mu     sync.Mutex
	sum    wire.Promised
	short  map[string]string // why, by resource
	failed bool              // the last measurement
}

// run measures until ctx ends. promised is what is promised to the sandboxes that there are.
func (a *admission) run(ctx context.Context, promised func() wire.Promised) {
	wait.Every(ctx, admitEvery, func() { a.measure(ctx, promised()) })
}

// measure compares what the host has left, and what of it is promised to sandboxes, with what is to be kept free.
func (a *admission) measure(ctx context.Context, sum wire.Promised) {
	left, err := a.headroom(ctx)
	if err != nil && context.Cause(ctx) != nil {
		return
	}
	short := map[string]string{}
	if err == nil {
		sum.HostMemoryMiB, sum.HostDiskMiB = left.TotalMemory>>20, left.TotalDisk>>20
		short = shortages(left, sum, a.reserves())
	}
	before := a.reason()
	a.mu.Lock()
	news := err != nil && !a.failed
	a.short, a.failed, a.sum = short, err != nil, sum
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

// total is what was promised at the last look.
func (a *admission) total() wire.Promised {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sum
}

// promised adds up the limits of all sandboxes.
func promised(pools []pool.Overview, templates map[string]configs.Template) (sum wire.Promised) {
	for _, p := range pools {
		t, n := templates[p.Template], uint64(p.Total+p.Warming) //nolint:gosec // not negative
		sum.MemoryMiB += n * uint64(t.MemoryMiB)                 //nolint:gosec // not negative
		sum.DiskMiB += n * uint64(t.DiskMiB)                     //nolint:gosec // not negative
	}
	return sum
}

// shortages are the resources of which less is left than is to be kept, or more promised than may be, and how much that is.
func shortages(left hostproc.Headroom, sum wire.Promised, kept configs.Reserves) map[string]string {
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
	bound := func(resource string, promised, has uint64, times float64) {
		if most := times * float64(has); times > 0 && float64(promised) >= most && short[resource] == "" {
			short[resource] = fmt.Sprintf("%s: sandboxes may use %d MiB by their limits, %.0f MiB are allowed (reserves.%s_overcommit)", resource, promised, most, resource)
		}
	}
	bound("memory", sum.MemoryMiB, sum.HostMemoryMiB, kept.MemoryOvercommit)
	bound("disk", sum.DiskMiB, sum.HostDiskMiB, kept.DiskOvercommit)
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
