package input

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"sandpool/cmd/sandpool/signals"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// OnTerminal makes a call with a terminal in raw mode, whose sizes are told by the frames as they change.
func OnTerminal(file *os.File, call func(control chan wire.Frame) (int, error)) (code int, err error) {
	fd := int(file.Fd())
	saved, err := term.MakeRaw(fd)
	if err != nil {
		return 0, fmt.Errorf("set terminal to raw: %w", err)
	}
	defer func() {
		if restored := term.Restore(fd, saved); restored != nil {
			err = errors.Join(err, fmt.Errorf("restore terminal: %w", restored))
		}
	}()
	control := make(chan wire.Frame, 1)
	defer signals.Each(func(sig os.Signal) {
		if sig == unix.SIGTSTP {
			_ = term.Restore(fd, saved)
			signals.Suspend()
			_, _ = term.MakeRaw(fd) // a terminal that is gone by now ends the call
		}
		select {
		case <-control: // an older size that was not sent yet
		default:
		}
		control <- client.Resize(Size(fd))
	}, unix.SIGWINCH, unix.SIGTSTP)()
	return call(control)
}
