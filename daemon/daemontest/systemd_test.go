package daemontest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// TestSocketActivation runs the real daemon as systemd does: on a socket that it did not make, with reports on its state.
func TestSocketActivation(t *testing.T) {
	cfg := testConfig(t, 1, 1)
	program, file := realDaemon(t), writeConfig(t, cfg)
	states := listenForStates(t, filepath.Join(filepath.Dir(cfg.Daemon.Socket), "n"))
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: cfg.Daemon.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(socket.Close(), ln.Close()) }()

	cmd := exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$; exec "$0" --config "$1"`, program, file)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "NOTIFY_SOCKET="+states.LocalAddr().String())
	cmd.ExtraFiles = []*os.File{socket}
	p, err := host.Spawn("sandpoold", cmd)
	if err != nil {
		t.Fatal(err)
	}
	c := &client.Client{Socket: cfg.Daemon.Socket}
	defer c.Close()
	if err := c.Ready(t.Context()); err != nil { // waits in the socket's queue until the daemon serves
		t.Errorf("not ready: %v", err)
	}
	checkAlive(t, c, claim(t, c, wire.ClaimRequest{}))
	awaitState(t, states, "READY=1")
	c.Close()
	if err := p.Stop(patience); err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
	awaitState(t, states, "STOPPING=1")
	if _, err := os.Lstat(cfg.Daemon.Socket); err != nil {
		t.Errorf("systemd's socket is gone: %v", err)
	}
	checkNothingLeft(t)
}

func listenForStates(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func awaitState(t *testing.T, conn *net.UnixConn, want string) {
	t.Helper()
	data := make([]byte, 1024)
	for {
		n, err := conn.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(data[:n]), want) {
			return
		}
	}
}

// TestSecondSignal stops a daemon that waits for a stream to end, and then ends it at once.
func TestSecondSignal(t *testing.T) {
	cfg := testConfig(t, 1, 1)
	program, file := realDaemon(t), writeConfig(t, cfg)
	states := listenForStates(t, filepath.Join(filepath.Dir(cfg.Daemon.Socket), "n"))
	t.Setenv("NOTIFY_SOCKET", states.LocalAddr().String())
	p := spawn(t, program, file, cfg.Daemon.Socket)
	c := &client.Client{Socket: cfg.Daemon.Socket}
	defer c.Close()
	id := claim(t, c, wire.ClaimRequest{}).ID
	started := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), id, wire.ExecRequest{Args: []string{"sh", "-c", "echo; exec sleep 1000"}}, client.Stdio{
			Out: writerFunc(func(data []byte) (int, error) {
				close(started)
				return len(data), nil
			}),
		})
		ended <- err
	}()
	<-started
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitState(t, states, "STOPPING=1")
	await(t, "the daemon has ended", func() bool { // at the first moment the second signal still counts as the first
		_ = p.Signal(syscall.SIGTERM)
		select {
		case <-p.Done():
			return true
		default:
			return false
		}
	})
	exit, ok := errors.AsType[*exec.ExitError](p.Wait())
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the daemon ended with %v, want the second signal", exit)
	}
	if err := <-ended; err == nil {
		t.Error("the stream ended without an error")
	}
	// The next start finds what the hard end left, and this time cleans up.
	if err := spawn(t, program, file, cfg.Daemon.Socket).Stop(patience); err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
	checkNothingLeft(t)
}
