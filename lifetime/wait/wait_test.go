package wait

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoff{First: 200 * time.Millisecond, Last: 5 * time.Second}
	for failures, want := range map[int]time.Duration{
		0: b.First, 1: b.First, 2: 2 * b.First, 3: 4 * b.First, 5: 16 * b.First, 6: b.Last, 7: b.Last, 64: b.Last, math.MaxInt: b.Last,
	} {
		if got := b.After(failures); got != want {
			t.Errorf("pause after %d failures is %s, want %s", failures, got, want)
		}
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		err := Sleep(ctx, time.Second)
		if slept := time.Since(begin); slept != time.Second || err != nil {
			t.Errorf("slept for %s, %v; want a second", slept, err)
		}
		err = Sleep(ctx, time.Hour)
		if slept := time.Since(begin); slept != time.Minute || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("slept until %s, %v; want until the context ended after a minute", slept, err)
		}
	})
}

// TestLoop looks at what wakes a loop: a wake from before it ran, its own last look, and others, of which those during a look are one.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		l, looks := NewLoop(), 0
		l.Wake()
		want := func(n int, why string) {
			t.Helper()
			synctest.Wait()
			if looks != n {
				t.Errorf("%d looks %s, want %d", looks, why, n)
			}
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.Run(ctx, func() time.Duration {
				looks++
				if looks == 1 {
					l.Wake()
					l.Wake()
				}
				return time.Minute
			})
		}()
		want(2, "at first: its own and the one that it was woken for")
		time.Sleep(59 * time.Second)
		want(2, "before the next is due")
		time.Sleep(time.Second)
		want(3, "when the next is due")
		l.Wake()
		want(4, "after it was woken")
		if n := l.Rounds(); n != 4 {
			t.Errorf("%d rounds are counted, want 4", n)
		}
		want(5, "after its rounds were asked for")
		stop()
		<-ended
		l.Wake()
		want(5, "after its context ended")
	})
}

func TestLoopThatEndsInALook(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	l, looks := NewLoop(), 0
	l.Run(ctx, func() time.Duration {
		looks++
		stop()
		l.Wake()
		return 0
	})
	if looks != 1 {
		t.Errorf("%d looks, want none after the context ended", looks)
	}
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		done := 0
		Every(ctx, 3*time.Second, func() { done++ })
		if done != 3 {
			t.Errorf("done %d times in ten seconds, want every three", done)
		}
	})
}
