package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandpool/runtime/runsc"
	"sandpool/runtime/runsc/runsctest"
	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
}

// fakeSentry answers the requests of one connection after the other.
func fakeSentry(t *testing.T, answers ...runsctest.Answer) *Target {
	t.Helper()
	const id = "sb-fake"
	dir := t.TempDir()
	starter := New(Config{Root: runsc.Root(dir), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(starter.Close)
	socket := filepath.Join(dir, "s")
	state := fmt.Sprintf(`{"id":%q,"sandbox":{"controlSocketPath":%q}}`, id, socket)
	if err := os.WriteFile(filepath.Join(dir, id+"_sandbox:"+id+".state"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	runsctest.Sentry(t, socket, answers...)
	return &Target{starter: starter, Sandbox: Sandbox{ID: id}}
}

// TestCommandThatStartsTooLateIsKilled lets a client leave while the sentry starts its command.
func TestCommandThatStartsTooLateIsKilled(t *testing.T) {
	asked, left, killed := make(chan struct{}), make(chan struct{}), make(chan string, 1)
	in := fakeSentry(t,
		func(conn *net.UnixConn, _ string) {
			close(asked)
			<-left
			runsctest.Says(`{"success":true,"result":7}`)(conn, "")
		},
		func(conn *net.UnixConn, method string) {
			killed <- method
			runsctest.Says(`{"success":true}`)(conn, "")
		})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		cancel(io.ErrNoProgress)
	}()
	p := &sentryProcess{in: in, result: newResult()}
	if err := p.start(ctx, &specs.Process{}, false, nil); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("start: %v, want the cause", err)
	}
	close(left)
	select {
	case method := <-killed:
		if method != "containerManager.Signal" {
			t.Errorf("%s was called, want the signal", method)
		}
	case <-time.After(time.Minute):
		t.Error("the command was not killed")
	}
}

// TestWidePipes has more room in the pipes of a command that carries much, and they still give up a read when they are told to.
func TestWidePipes(t *testing.T) {
	starter := New(Config{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(starter.Close)
	var c copies
	files, err := c.open(starter, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(files)
	c.widen()
	for i, want := range []int{wideInput, wideOutput} {
		if size, err := unix.FcntlInt(files[i].Fd(), unix.F_GETPIPE_SZ, 0); err != nil || size < want {
			t.Errorf("pipe %d has room for %d bytes, %v; want %d", i, size, err, want)
		}
	}
	c.Cancel()
	c.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
