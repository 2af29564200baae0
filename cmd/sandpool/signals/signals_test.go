package signals

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestSilentDaemon has one that takes no frames, and one that takes them and says no more.
func TestSilentDaemon(t *testing.T) {
	for name, takes := range map[string]bool{"takes nothing": false, "takes the signal": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call, end := context.WithCancelCause(t.Context())
				p := New(end, func(ctx context.Context) { <-ctx.Done() })
				ctx, stop := context.WithCancel(t.Context())
				arrived := make(chan os.Signal, 1)
				go p.run(ctx, arrived)
				arrived <- unix.SIGINT
				if takes {
					<-p.Control
					p.WasSent()
				}
				time.Sleep(answerTime - time.Millisecond)
				if err := context.Cause(call); err != nil {
					t.Errorf("ended early: %v", err)
				}
				time.Sleep(2 * time.Millisecond)
				if err := context.Cause(call); !errors.Is(err, errNoAnswer) {
					t.Errorf("ended by %v, want that nothing answers", err)
				}
				stop()
				synctest.Wait()
			})
		})
	}
}

// TestAnsweringDaemon gives a command all the time that it takes to end.
func TestAnsweringDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call, end := context.WithCancelCause(t.Context())
		p := New(end, func(context.Context) {})
		ctx, stop := context.WithCancel(t.Context())
		arrived := make(chan os.Signal, 1)
		go p.run(ctx, arrived)
		arrived <- unix.SIGINT
		<-p.Control
		p.WasSent()
		time.Sleep(time.Hour)
		if err := context.Cause(call); err != nil {
			t.Errorf("ended by %v", err)
		}
		stop()
		synctest.Wait()
	})
}
