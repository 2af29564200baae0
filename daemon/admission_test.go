package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/runtime/hostproc"
)

func TestAdmission(t *testing.T) {
	const mib = 1 << 20
	plenty := hostproc.Headroom{Memory: 512 * mib, Disk: 1024 * mib, PIDs: 512, Files: 1024, TotalMemory: 1024 * mib, TotalDisk: 4000 * mib}
	for name, tc := range map[string]struct {
		change func(h *hostproc.Headroom)
		err    error
		want   string

		memory, disk float64 // overcommit
	}{
		"just enough":       {func(*hostproc.Headroom) {}, nil, "", 0, 0},
		"memory":            {func(h *hostproc.Headroom) { h.Memory = 300*mib + 5 }, nil, "memory: 300 MiB left, 512 MiB are kept free", 0, 0},
		"disk":              {func(h *hostproc.Headroom) { h.Disk = 0 }, nil, "disk: 0 MiB left, 1024 MiB are kept free", 0, 0},
		"pids":              {func(h *hostproc.Headroom) { h.PIDs = 511 }, nil, "pids: 511 left, 512 are kept free", 0, 0},
		"files and disk":    {func(h *hostproc.Headroom) { h.Files, h.Disk = 7, 0 }, nil, "disk: 0 MiB left, 1024 MiB are kept free; files: 7 left, 1024 are kept free", 0, 0},
		"promised just not": {func(*hostproc.Headroom) {}, nil, "", 4.1, 2.3},
		"promised memory":   {func(*hostproc.Headroom) {}, nil, "memory: sandboxes may use 4096 MiB by their limits, 4096 MiB are allowed (reserves.memory_overcommit)", 4, 0},
		"promised disk":     {func(*hostproc.Headroom) {}, nil, "disk: sandboxes may use 9000 MiB by their limits, 8000 MiB are allowed (reserves.disk_overcommit)", 0, 2},
		"not measured":      {func(h *hostproc.Headroom) { *h = hostproc.Headroom{} }, errors.New("no such file"), "", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			left := plenty
			tc.change(&left)
			a := &admission{
				headroom: func(context.Context) (hostproc.Headroom, error) { return left, tc.err },
				reserves: func() configs.Reserves {
					r := configs.Default().Reserves
					r.MemoryOvercommit, r.DiskOvercommit = tc.memory, tc.disk
					return r
				},
				log: slog.New(slog.DiscardHandler),
			}
			a.measure(t.Context(), wire.Promised{MemoryMiB: 4096, DiskMiB: 9000})
			if got := a.reason(); got != tc.want {
				t.Errorf("reason %q, want %q", got, tc.want)
			}
			for _, resource := range resources {
				if blocks := strings.Contains(tc.want, resource+":"); a.blocks(resource) != blocks {
					t.Errorf("%s blocks: %t", resource, !blocks)
				}
			}
		})
	}
}

// TestAdmissionFollowsTheHost lets the host run short, recover and become unmeasurable, and counts what is logged.
func TestAdmissionFollowsTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		type host struct {
			pids    uint64
			err     error
			kept    int
			blocked bool // what is wanted of it
		}
		var now atomic.Pointer[host]
		a := &admission{
			headroom: func(context.Context) (hostproc.Headroom, error) {
				return hostproc.Headroom{PIDs: now.Load().pids}, now.Load().err
			},
			reserves: func() configs.Reserves { return configs.Reserves{PIDs: now.Load().kept} },
			log:      slog.New(slog.NewTextHandler(&log, nil)),
		}
		now.Store(&host{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.run(ctx, func() wire.Promised { return wire.Promised{} })
		}()
		for _, step := range []host{{5, nil, 10, true}, {20, nil, 10, false}, {20, nil, 30, true}, {5, errors.New("broken"), 30, false}, {5, nil, 0, false}} {
			now.Store(&step)
			time.Sleep(3 * admitEvery) // in virtual time
			synctest.Wait()
			if a.blocks("pids") != step.blocked {
				t.Errorf("%+v: blocked is %t", step, !step.blocked)
			}
		}
		stop()
		<-ended
		for text, times := range map[string]int{"nothing is started": 2, "has room again": 2, "cannot be measured": 1} {
			if got := strings.Count(log.String(), text); got != times {
				t.Errorf("%q is logged %d times, want %d, in\n%s", text, got, times, &log)
			}
		}
	})
}
