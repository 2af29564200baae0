package daemontest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// TestCommandsEndWithTheDaemonThatRanThem kills the real daemon: a command whose client waited for it ends, whichever way it was started, and what
// was to outlive its client lives on.
func TestCommandsEndWithTheDaemonThatRanThem(t *testing.T) {
	cfg := testConfig(t, 1, 1)
	program, file := realDaemon(t), writeConfig(t, cfg)
	d := &client.Client{Socket: cfg.Daemon.Socket}
	defer d.Close()
	p := spawn(t, program, file, cfg.Daemon.Socket)
	awaitPool(t, d) // so that process 1 is connected to
	c := claim(t, d, wire.ClaimRequest{})
	long := lifetime.Duration(time.Hour)
	ways := map[string]wire.ExecRequest{
		"plain": {}, "timeout": {Timeout: &long}, "another user": {User: "1234"}, "terminal": {TTY: true}, "terminal of another user": {TTY: true, User: "1234"},
	}
	ended := make(chan error)
	number := 0
	for name, req := range ways {
		number++
		began := make(chan struct{})
		say := sync.OnceFunc(func() { close(began) }) // it may come in pieces
		req.Args = []string{"sh", "-c", fmt.Sprintf("trap '' HUP; echo began; sleep %d & sleep %[1]d; wait", 70000+number)}
		go func() {
			_, err := d.Exec(t.Context(), c.ID, req, client.Stdio{Out: writerFunc(func(b []byte) (int, error) { say(); return len(b), nil })})
			ended <- err
		}()
		select {
		case <-began:
		case err := <-ended:
			t.Fatalf("%s: it ended with %v", name, err)
		}
	}
	if _, err := d.StartProcess(t.Context(), c.ID, wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: []string{"sleep", "80000"}}}); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	for range ways {
		if err := <-ended; err == nil {
			t.Error("a command ended well when the daemon was killed")
		}
	}
	d.Close()
	p = spawn(t, program, file, cfg.Daemon.Socket)
	var out string
	await(t, "the commands have ended", func() bool {
		_, text, err := output(t.Context(), d, c.ID, "", "ps")
		out = text
		return err == nil && !strings.Contains(out, "sleep 7000")
	})
	if !strings.Contains(out, "sleep 80000") {
		t.Errorf("the process that was to live on has ended:\n%s", out)
	}
	if err := p.Stop(patience); err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
}
