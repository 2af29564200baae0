package systemd

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sandpool/scripts/testhost"
)

// asService names the environment variable that makes the test program play a service of systemd's.
const asService = "SANDPOOL_TEST_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asService) == "" {
		testhost.ClearEnv()
		os.Exit(m.Run())
	}
	ln, err := Listener()
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(os.Stdout, "error:", err)
	case ln == nil:
		_, _ = fmt.Fprintln(os.Stdout, "none")
	default:
		_, _ = fmt.Fprintln(os.Stdout, "listener", ln.Addr())
	}
	Notifier(slog.New(slog.DiscardHandler))("READY=1")
}

// runService runs the test program as systemd runs a service, with sockets passed on, and returns its output.
func runService(t *testing.T, env []string, sockets ...*os.File) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `export LISTEN_PID=$$; exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), append(env, asService+"=1", fmt.Sprintf("LISTEN_FDS=%d", len(sockets)))...)
	cmd.ExtraFiles = sockets
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// socket returns a listening socket as a file, and its address.
func socket(t *testing.T, network, address string) *os.File {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = file.Close()
		_ = ln.Close()
	})
	return file
}

func TestListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	one := socket(t, "unix", path)
	for name, tc := range map[string]struct {
		sockets []*os.File
		want    string
	}{
		"one":          {[]*os.File{one}, "listener " + path},
		"none":         {nil, "none"},
		"two":          {[]*os.File{one, one}, "got 2, want one"},
		"another kind": {[]*os.File{socket(t, "tcp", "127.0.0.1:0")}, "no unix stream socket"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := runService(t, nil, tc.sockets...); !strings.Contains(got, tc.want) {
				t.Errorf("service says %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNotifier(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	runService(t, []string{"NOTIFY_SOCKET=" + path})
	state := make([]byte, 64)
	n, err := conn.Read(state)
	if err != nil || string(state[:n]) != "READY=1" {
		t.Errorf("got %q, %v", state[:n], err)
	}
}

// TestNotifierWithoutSystemd shows that a state that nobody receives is no failure, and one that is lost is logged.
func TestNotifierWithoutSystemd(t *testing.T) {
	for socket, logged := range map[string]bool{"": false, "/no/such/socket": true} {
		t.Setenv("NOTIFY_SOCKET", socket)
		var out strings.Builder
		Notifier(slog.New(slog.NewTextHandler(&out, nil)))("READY=1")
		if got := strings.Contains(out.String(), "could not be notified"); got != logged {
			t.Errorf("with NOTIFY_SOCKET=%q the log has %q", socket, out.String())
		}
	}
}
