package testhost

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// victimEnv makes the test binary a victim: it starts a host and a sandbox, says where, and waits to be killed.
const victimEnv = "TESTHOST_VICTIM"

type victim struct{}

func (victim) Run() int {
	if err := host.Import(context.Background(), host.Image); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(host.Dir, host.Namespace)
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// startVictim returns the victim and a view of its host, with a sandbox running. It and the hosts that this test starts from then on lie
// in a folder of their own: what it leaves is for this test to find, and for no other that runs on the machine.
func startVictim(t *testing.T) (*exec.Cmd, *Host) {
	t.Helper()
	base, err := os.MkdirTemp(filepath.Dir(host.Dir), "sphv-") //nolint:usetesting // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(base); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", base)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"=1")
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	view := &Host{Ctr: host.Ctr, ids: map[string]struct{}{}}
	if _, err := fmt.Fscanln(stdout, &view.Dir, &view.Namespace); err != nil {
		t.Fatalf("start victim: %v: %s", err, stderr.String())
	}
	view.Address = filepath.Join(view.Dir, "containerd.sock")
	runSandbox(t, view, "victim")
	if left := strings.Join(view.Leftovers(), "\n"); !strings.Contains(left, "runsc-sandbox") {
		t.Fatalf("the victim's sandbox does not run: %s", left)
	}
	return cmd, view
}

func TestSweepAfterKill(t *testing.T) {
	cmd, view := startVictim(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if left := view.Leftovers(); len(left) == 0 {
		t.Fatal("a host that was killed left nothing: the test proves nothing")
	}
	next, err := Start(t.Context(), Options{Namespace: host.Namespace + "-next"})
	if err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, view)
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	checkEmpty(t, next)
}

func TestInterrupt(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, view := startVictim(t)
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("exit code 0 after %s", sig)
		}
		checkEmpty(t, view)
	}
}
