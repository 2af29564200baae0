package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sandpool/pool"
)

// watched is a reporter of one loop, with all that it told.
type watched struct {
	*reporter
	turns uint64
	hangs bool
	away  error
	told  []string
}

func newWatched() *watched {
	w := &watched{}
	w.reporter = &reporter{
		notify: func(state string) { w.told = append(w.told, state) },
		pools: func() []pool.Overview {
			return []pool.Overview{{Available: 3, InUse: 2, Warming: 1}, {Config: pool.Config{Name: "local:x"}, Waiting: 4, Degraded: "no\nimage"}}
		},
		outage: func() error { return w.away },
		watch:  30 * time.Second, log: slog.New(slog.DiscardHandler),
		loops: []*loop{{name: "pools", turns: func() uint64 {
			if !w.hangs {
				w.turns++
			}
			return w.turns
		}}},
	}
	return w
}

// fed is how many signs of life were given.
func (w *watched) fed() int {
	return len(slices.DeleteFunc(slices.Clone(w.told), func(state string) bool { return state != "WATCHDOG=1" }))
}

func TestWatchdogIsFed(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*watched)
		want   int
	}{
		"all goes on":              {func(*watched) {}, 10},
		"a loop hangs":             {func(w *watched) { w.hangs = true }, 1}, // that it does is known at the second look
		"a loop may take its time": {func(w *watched) { w.hangs, w.loops[0].most = true, time.Hour }, 10},
		"containerd is away":       {func(w *watched) { w.away = errors.New("away") }, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatched()
				tc.change(w)
				ctx, cancel := context.WithTimeout(t.Context(), 105*time.Second)
				defer cancel()
				w.run(ctx)
				if w.fed() != tc.want {
					t.Errorf("fed %d times, want %d", w.fed(), tc.want)
				}
			})
		})
	}
}

func TestStatusLine(t *testing.T) {
	w := newWatched()
	w.away = errors.New("containerd is away")
	w.reloaded(errors.New("x.toml:2: regoin: unknown key"))
	got := w.status()
	const want = "3 ready, 2 claimed, 1 starting, 4 waiting; pools: 2; pool local:x is degraded: no image; containerd is away; " +
		"the configuration was not reloaded, the old one stays: x.toml:2: regoin: unknown key"
	if got != want {
		t.Errorf("status is %q", got)
	}
	w.reloaded(nil)
	if got := w.status(); strings.Contains(got, "regoin") {
		t.Errorf("after a good reload the status is %q", got)
	}
}
