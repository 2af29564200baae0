// Package systemd speaks to the service manager: it takes over the socket that systemd made, reports the daemon's state and
// writes to the journal.
//
// Without systemd there is no socket to take over, and reports go nowhere.
package systemd

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// Listener returns the listening unix socket that systemd passed to this process, or nil when it passed none.
// Call it once: the next call finds nothing.
func Listener() (*net.UnixListener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take over systemd's sockets: %w", err)
	}
	switch len(passed) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, fmt.Errorf("take over systemd's sockets: got %d, want one: see ListenStream= in the socket unit", len(passed))
	}
	ln, ok := passed[0].(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("take over systemd's socket: it is no unix stream socket: see ListenStream= in the socket unit")
	}
	return ln, nil
}

// Notifier returns a function that sends states, as sd_notify(3) defines them, to systemd.
// One that cannot be sent is logged: the daemon's own work does not depend on it.
func Notifier(log *slog.Logger) func(state string) {
	return func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("systemd could not be notified", "state", state, "err", err)
		}
	}
}

// Watchdog returns how long systemd waits for a sign of life before it replaces this process, or 0 when it does not wait for any.
func Watchdog() (time.Duration, error) {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0, fmt.Errorf("read systemd's watchdog: %w", err)
	}
	return patience, nil
}
