package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakeBody is a process that has ended, whose output flows until it is closed.
type fakeBody struct {
	result
	ended sync.Once
	flow  chan struct{}
}

func newFakeBody() *fakeBody {
	b := &fakeBody{result: newResult(), flow: make(chan struct{})}
	b.end(3, nil)
	return b
}

func (b *fakeBody) signal(context.Context, syscall.Signal) error { return nil }
func (b *fakeBody) resize(context.Context, uint16, uint16) error { return nil }
func (b *fakeBody) forget(context.Context) error                 { return nil }
func (b *fakeBody) streams() streams                             { return b }
func (b *fakeBody) Wait()                                        { <-b.flow }
func (b *fakeBody) Cancel()                                      { b.ended.Do(func() { close(b.flow) }) }
func (b *fakeBody) Close() error                                 { return nil }
func (b *fakeBody) cancelled() bool {
	select {
	case <-b.flow:
		return true
	default:
		return false
	}
}

func fakeStarter() *Starter { return New(Config{Log: slog.New(slog.DiscardHandler)}) }

// TestOutputOfAnEndedProcess has a child that writes as often as it can, one that writes now and then, and a reader that is slow.
func TestOutputOfAnEndedProcess(t *testing.T) {
	for name, test := range map[string]struct {
		size         int
		every, takes time.Duration // of a write
		least, most  time.Duration // until the wait ends
	}{
		"talking":                {5, time.Second, 0, drainTime, 2 * drainTime},
		"flooding":               {32 << 10, time.Millisecond, 0, drainTime, 2 * drainTime},
		"flooding a slow reader": {32 << 10, time.Millisecond, time.Second, 16 * time.Second, 20*time.Second + 2*drainTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				starter, b := fakeStarter(), newFakeBody()
				p := (&Target{starter: starter, Sandbox: Sandbox{ID: "sb-1"}}).newProcess(b, Spec{})
				var passed, after int
				returned := false
				to := p.output.to(writerFunc(func(b []byte) (int, error) {
					time.Sleep(test.takes)
					if passed += len(b); returned {
						after += len(b)
					}
					return len(b), nil
				}))
				var child sync.WaitGroup
				child.Go(func() {
					for !b.cancelled() {
						_, _ = to.Write(make([]byte, test.size))
						time.Sleep(test.every)
					}
				})
				began := time.Now()
				if code, err := p.Wait(t.Context()); code != 3 || err != nil {
					t.Errorf("exit code %d, %v", code, err)
				}
				returned = true
				if took := time.Since(began); took < test.least || took > test.most {
					t.Errorf("took %s, want %s to %s", took, test.least, test.most)
				}
				time.Sleep(10 * time.Second)
				if b.cancelled() || after > 0 {
					t.Errorf("%d bytes were written to who had gone; the output is closed: %v", after, b.cancelled())
				}
				starter.Close()
				child.Wait()
				if !b.cancelled() {
					t.Error("the engine left the output open")
				}
			})
		})
	}
}

// TestLeftoversAreFew has more commands of a sandbox leave children behind than are drained.
func TestLeftoversAreFew(t *testing.T) {
	starter := fakeStarter()
	var all []*fakeBody
	for range keptLeftovers + 2 {
		b := newFakeBody()
		all = append(all, b)
		p := (&Target{starter: starter, Sandbox: Sandbox{ID: "sb-1"}}).newProcess(b, Spec{})
		starter.leftovers.keep(p, p.flowed())
	}
	other := newFakeBody()
	p := (&Target{starter: starter, Sandbox: Sandbox{ID: "sb-2"}}).newProcess(other, Spec{})
	starter.leftovers.keep(p, p.flowed())
	for i, b := range all {
		if want := i < 2; b.cancelled() != want {
			t.Errorf("output %d is closed: %v, want %v", i, b.cancelled(), want)
		}
	}
	if other.cancelled() {
		t.Error("another sandbox lost an output")
	}
	if starter.Close(); !other.cancelled() {
		t.Error("the starter left an output open")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestOutputThatCannotBeWritten is dropped, so that its process goes on.
func TestOutputThatCannotBeWritten(t *testing.T) {
	o := outputs{pace: &pacer{}}
	calls := 0
	w := o.to(writerFunc(func([]byte) (int, error) { calls++; return 0, errors.New("gone") }))
	if n, err := io.Copy(w, bytes.NewReader(make([]byte, 100<<10))); n != 100<<10 || err != nil || calls != 1 {
		t.Errorf("%d bytes, %v, %d writes", n, err, calls)
	}
}
