package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// answerTime is how long the daemon may take to take a signal that is to end the command, and to show that it lives.
const answerTime = 3 * time.Second

var (
	// passedOn are the signals that are the command's.
	passedOn = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGTSTP, unix.SIGCONT, unix.SIGUSR1, unix.SIGUSR2}
	// ending are those of them that are to end it.
	ending = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}
	// insisting are those of them that end this program when they come twice.
	insisting = []os.Signal{unix.SIGINT, unix.SIGTERM}
)

var (
	errInterrupted = errors.New("interrupted twice: the command is killed")
	errNoAnswer    = errors.New("interrupted, and nothing answers: the command is killed")
)

// passing passes signals on to a command.
type passing struct {
	control chan wire.Frame
	sent    chan struct{} // has room for the one frame that is under way
	end     context.CancelCauseFunc
	alive   func(context.Context)
}

// newPassing returns one that ends the call of a command by end; alive returns when the daemon has answered, whatever it is.
func newPassing(end context.CancelCauseFunc, alive func(context.Context)) *passing {
	return &passing{control: make(chan wire.Frame), sent: make(chan struct{}, 1), end: end, alive: alive}
}

func (p *passing) wasSent() { p.sent <- struct{}{} }

// watch passes signals on until the returned function is called.
func (p *passing) watch() (stop func()) {
	arrived, ended := make(chan os.Signal, 16), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	signal.Notify(arrived, heeded(passedOn...)...)
	go func() {
		defer close(ended)
		p.run(ctx, arrived)
	}()
	return func() {
		signal.Stop(arrived)
		cancel()
		<-ended
	}
}

// heeded are those of the signals that this program was not started to ignore, as by nohup or in the background of a script.
func heeded(signals ...os.Signal) []os.Signal {
	return slices.DeleteFunc(slices.Clone(signals), signal.Ignored)
}

func (p *passing) run(ctx context.Context, arrived <-chan os.Signal) {
	var waiting []os.Signal // the first may be under way
	var late <-chan time.Time
	var asking sync.WaitGroup
	defer asking.Wait()
	answered := make(chan struct{}, 1)
	sending, insisted := false, 0
	for {
		var control chan<- wire.Frame
		var frame wire.Frame
		if len(waiting) > 0 && !sending {
			control, frame = p.control, client.Signal(waiting[0].(syscall.Signal))
		}
		select {
		case control <- frame:
			sending = true
		case <-p.sent:
			if waiting[0] == unix.SIGTSTP {
				suspend()
			}
			if ends(waiting[0]) && late != nil { // that it was sent does not say that anybody has read it
				asking.Go(func() {
					p.alive(ctx)
					select {
					case answered <- struct{}{}:
					default: // the news is there already
					}
				})
			}
			waiting, sending = waiting[1:], false
		case <-answered:
			late = nil
		case <-late:
			p.end(errNoAnswer)
		case sig := <-arrived:
			if slices.Contains(insisting, sig) {
				insisted++
			}
			if insisted > 1 {
				p.end(errInterrupted)
			}
			if late == nil && ends(sig) {
				late = time.After(answerTime)
			}
			waiting = append(waiting, sig)
		case <-ctx.Done():
			return
		}
	}
}

func ends(sig os.Signal) bool { return slices.Contains(ending, sig) }

// suspend stops this process until it is continued. The signal is for this thread, so that it does not run on.
func suspend() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
}
