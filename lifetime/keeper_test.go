package lifetime

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// runKeeper collects what expires, as "id@seconds since the start", until stop is called.
func runKeeper(t *testing.T, k *Keeper) (expired func() []string, stop func()) {
	began := time.Now()
	var mu sync.Mutex
	var got []string
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() {
		k.Run(ctx, func(id string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, id+"@"+time.Since(began).String())
		})
	})
	expired = func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
	return expired, func() { cancel(); loop.Wait() }
}

func TestKeeperExpiresInOrderAndOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeeper()
		now := time.Now()
		k.Set("past", now.Add(-time.Hour))
		k.Set("week", now.Add(7*24*time.Hour))
		k.Set("minute", now.Add(time.Minute))
		k.Set("removed", now.Add(time.Second))
		k.Set("moved", now.Add(time.Second))
		expired, stop := runKeeper(t, k)
		k.Remove("removed")
		k.Remove("unknown")
		k.Set("moved", now.Add(2*time.Minute))
		time.Sleep(30 * time.Second)
		k.Set("late", now.Add(31*time.Second))
		time.Sleep(8 * 24 * time.Hour)
		want := []string{"past@0s", "late@31s", "minute@1m0s", "moved@2m0s", "week@168h0m0s"}
		if got := expired(); !slices.Equal(got, want) {
			t.Errorf("expired %q, want %q", got, want)
		}
		stop()
	})
}
