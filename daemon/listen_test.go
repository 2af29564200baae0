package daemon

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sandpool/configs"
	"sandpool/scripts/testhost"
)

func socketConfig(t *testing.T) configs.Daemon {
	t.Helper()
	cfg := configs.Default().Daemon
	cfg.Socket = filepath.Join(testhost.ShortDir(t), "run", "s")
	return cfg
}

func TestListen(t *testing.T) {
	cfg := socketConfig(t)
	cfg.SocketMode, cfg.SocketGroup = "0620", "65534"
	ln, err := listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != fs.ModeSocket|0o620 {
		t.Errorf("mode is %v", got)
	}
	if gid := info.Sys().(*syscall.Stat_t).Gid; gid != 65534 {
		t.Errorf("group is %d", gid)
	}
	if folder, err := os.Stat(filepath.Dir(cfg.Socket)); err != nil || folder.Mode().Perm() != 0o755 {
		t.Errorf("folder: %v, %v", folder, err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(cfg.Socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket outlived its listener: %v", err)
	}
}

func TestListenInPlaceOfAStaleSocket(t *testing.T) {
	cfg := socketConfig(t)
	old, err := listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	ln, err := listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.Close(), ln.Close()); err != nil {
		t.Error(err)
	}
}

func TestListenRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, cfg *configs.Daemon)
		want    string
	}{
		"a socket in use": {func(t *testing.T, cfg *configs.Daemon) {
			ln, err := listen(t.Context(), *cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
		}, "another sandpoold listens on"},
		"a file": {func(t *testing.T, cfg *configs.Daemon) {
			cfg.Socket = filepath.Join(filepath.Dir(filepath.Dir(cfg.Socket)), "file")
			if err := os.WriteFile(cfg.Socket, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is no socket: remove it or set daemon.socket"},
		"an unknown group": {func(_ *testing.T, cfg *configs.Daemon) { cfg.SocketGroup = "no-such-group" }, "find daemon.socket_group"},
		"a folder that is a file": {func(t *testing.T, cfg *configs.Daemon) {
			if err := os.WriteFile(filepath.Dir(cfg.Socket), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "make socket folder"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := socketConfig(t)
			tc.prepare(t, &cfg)
			ln, err := listen(t.Context(), cfg)
			if err == nil {
				_ = ln.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
