// Package signals passes the signals that a program gets on to the command that it runs elsewhere.
package signals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
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
	// Ending are those of them that are to end it.
	Ending = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}
	// insisting are those of them that end this program when they come twice.
	insisting = []os.Signal{unix.SIGINT, unix.SIGTERM}
)

var (
	errInterrupted = errors.New("interrupted twice: the command is killed")
	errNoAnswer    = errors.New("interrupted, and nothing answers: the command is killed")
)

// Passing passes signals on to a command.
type Passing struct {
	// Control has the signals as frames.
	Control chan wire.Frame
	sent    chan struct{} // has room for the one frame that is under way
	end     context.CancelCauseFunc
	alive   func(context.Context)
}

// New returns one that ends the call of a command by end; alive returns when the daemon has answered, whatever it is.
func New(end context.CancelCauseFunc, alive func(context.Context)) *Passing {
	return &Passing{Control: make(chan wire.Frame), sent: make(chan struct{}, 1), end: end, alive: alive}
}

// WasSent is to be called when a frame of Control was sent.
func (p *Passing) WasSent() { p.sent <- struct{}{} }

// Watch passes signals on until the returned function is called.
func (p *Passing) Watch() (stop func()) {
	arrived, ended := make(chan os.Signal, 16), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	signal.Notify(arrived, Heeded(passedOn...)...)
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

// Heeded are those of the signals that this program was not started to ignore, as by nohup or in the background of a script.
func Heeded(signals ...os.Signal) []os.Signal {
	return slices.DeleteFunc(slices.Clone(signals), signal.Ignored)
}

func (p *Passing) run(ctx context.Context, arrived <-chan os.Signal) {
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
			control, frame = p.Control, client.Signal(waiting[0].(syscall.Signal))
		}
		select {
		case control <- frame:
			sending = true
		case <-p.sent:
			if waiting[0] == unix.SIGTSTP {
				Suspend()
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

func ends(sig os.Signal) bool { return slices.Contains(Ending, sig) }

// Suspend stops this process until it is continued. The signal is for this thread, so that it does not run on.
func Suspend() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
}

// Each calls handle for each of the signals until the returned function is called.
func Each(handle func(os.Signal), signals ...os.Signal) (stop func()) {
	arrived, stopped, ended := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(arrived, signals...)
	go func() {
		defer close(ended)
		for {
			select {
			case sig := <-arrived:
				handle(sig)
			case <-stopped:
				return
			}
		}
	}()
	return func() {
		signal.Stop(arrived)
		close(stopped)
		<-ended
	}
}

// Number is the signal of a name, with or without SIG, or of a number.
func Number(name string) (syscall.Signal, error) {
	if n, err := strconv.ParseUint(name, 10, 7); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	if n := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%q: want a name such as TERM, or a number from 1 to 64", name)
}
