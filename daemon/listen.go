package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/configs"
	"sandpool/runtime/hostpath"
)

// listen makes the configured socket. Its file is removed when the listener is closed.
//
// It sets the process's umask for a moment, so nothing else may make files meanwhile.
func listen(ctx context.Context, cfg configs.Daemon) (*net.UnixListener, error) {
	gid, err := lookupGroup(cfg.SocketGroup)
	if err != nil {
		return nil, err
	}
	if err := makeSocketFolder(cfg.Socket); err != nil {
		return nil, fmt.Errorf("make socket folder: %w", err)
	}
	if err := removeStale(ctx, cfg.Socket); err != nil {
		return nil, err
	}
	// A chmod after the listen would leave a moment in which anybody can connect.
	umask := unix.Umask(0o777 &^ int(cfg.Mode()))
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: cfg.Socket, Net: "unix"})
	unix.Umask(umask)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if gid >= 0 {
		if err := os.Chown(cfg.Socket, -1, gid); err != nil {
			return nil, errors.Join(fmt.Errorf("give socket to group %s: %w", cfg.SocketGroup, err), ln.Close())
		}
	}
	return ln, nil
}

// makeSocketFolder checks the socket itself, before and after: its folder may be one with the sticky bit, where others have theirs too.
func makeSocketFolder(socket string) error {
	if err := hostpath.Check(socket); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil { //nolint:gosec // the socket's own mode says who may connect
		return err
	}
	return hostpath.Check(socket)
}

// removeStale removes a socket that a killed daemon left. One that somebody listens on stays.
func removeStale(ctx context.Context, socket string) error {
	info, err := os.Lstat(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for old socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("make socket: %s exists and is no socket: remove it or set daemon.socket", socket)
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("make socket: another sandpoold listens on %s: stop it or set daemon.socket", socket)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("find out whether socket is in use: %w", err)
	}
	if err := os.Remove(socket); err != nil {
		return fmt.Errorf("remove old socket: %w", err)
	}
	return nil
}

// lookupGroup returns the number of a group given by name or number, or -1 for none.
func lookupGroup(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if gid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(gid), nil
	}
	group, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("find daemon.socket_group: %w", err)
	}
	return strconv.Atoi(group.Gid)
}
