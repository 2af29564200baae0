package daemontest

import (
	"bytes"
	"context"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// endless is input that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	return copy(b, bytes.Repeat([]byte("y\n"), len(b)/2)), nil
}

// TestExecAtItsLimits runs commands as scripts and agents do: with children, endless input, long arguments, and many of them.
func TestExecAtItsLimits(t *testing.T) {
	cfg := testConfig(t, 1, 1)
	dev := cfg.Lifetimes["development"]
	dev.IdlePause = lifetime.Duration(time.Second)
	cfg.Lifetimes["development"] = dev
	d := start(t, cfg)
	c := claim(t, d.Client, wire.ClaimRequest{})

	t.Run("input that the command closed", func(t *testing.T) {
		control := make(chan wire.Frame, 2)
		var out bytes.Buffer
		ready := sync.OnceFunc(func() { control <- client.Resize(24, 80); control <- client.Signal(syscall.SIGTERM) })
		said := writerFunc(func(b []byte) (int, error) { ready(); return out.Write(b) })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		code, err := d.Exec(ctx, c.ID, wire.ExecRequest{Args: []string{"sh", "-c", `exec 0<&-; trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.1; done`}},
			client.Stdio{In: endless{}, Out: said, Control: control})
		if err != nil || code != 3 || !strings.HasSuffix(out.String(), "got\n") {
			t.Errorf("exit code %d, %v, output %q", code, err, out.String())
		}
	})
	t.Run("end of a terminal's input", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var out bytes.Buffer
		code, err := d.Exec(ctx, c.ID, wire.ExecRequest{Args: []string{"cat"}, TTY: true}, client.Stdio{In: strings.NewReader("hi\n"), Out: &out})
		if err != nil || code != 0 || out.String() != "hi\r\nhi\r\n" {
			t.Errorf("exit code %d, %v, output %q", code, err, out.String())
		}
	})
	t.Run("long arguments", func(t *testing.T) {
		for name, args := range map[string][]string{
			"one":      {strings.Repeat("a", wire.MaxArgument)},
			"many":     strings.Fields(strings.Repeat(strings.Repeat("b", 99_999)+" ", 20)),
			"detached": strings.Fields(strings.Repeat(strings.Repeat("c", 99_999)+" ", 11)),
		} {
			all := append([]string{"sh", "-c", `n=0; for a; do n=$((n + ${#a})); done; echo $n`, "sh"}, args...)
			if name == "detached" {
				all = append([]string{client.InitPath, "spawn", "--log", "/tmp/log", "--"}, all...)
			}
			var out bytes.Buffer
			code, err := d.Exec(t.Context(), c.ID, wire.ExecRequest{Args: all}, client.Stdio{Out: &out, Err: &out})
			if name == "detached" && err == nil && code == 0 {
				out.Reset()
				code, err = d.Exec(t.Context(), c.ID, wire.ExecRequest{Args: []string{"sh", "-c", "until grep . /tmp/log; do sleep 0.05; done"}}, client.Stdio{Out: &out, Err: &out})
			}
			if want := strconv.Itoa(len(strings.Join(args, ""))) + "\n"; err != nil || code != 0 || out.String() != want {
				t.Errorf("%s: exit code %d, %v, output %.200q, want %q", name, code, err, out.String(), want)
			}
		}
	})
	t.Run("many beside endless input", func(t *testing.T) {
		held, hold, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		runMany(t, d, c.ID, 20, held) // what is made once is there
		before, files := goruntime.NumGoroutine(), openFiles(t)
		runMany(t, d, c.ID, 200, held)
		if more := openFiles(t) - files; more > 20 {
			t.Errorf("%d more files are open after 200 commands", more)
		}
		_ = hold.Close() // ends the reads that the client left behind
		_ = held.Close()
		checkGoroutines(t, before)
	})
	t.Run("a child that talks on", func(t *testing.T) {
		// It starts no processes, so that it is idle between its words.
		code, out, err := output(t.Context(), d.Client, c.ID, "", "sh", "-c", `(sleep 100000 | while :; do read -t 1 x; echo tick; done) & exit 3`)
		if err != nil || code != 3 || !strings.HasPrefix(out, "tick\n") {
			t.Errorf("exit code %d, %v, output %q", code, err, out)
		}
		await(t, "the claim rests", func() bool {
			got, err := d.Get(t.Context(), c.ID)
			return err == nil && got.State == wire.ClaimPaused
		})
	})
}

// runMany runs short commands whose input is held open.
func runMany(t *testing.T, d *running, id string, count int, in *os.File) {
	t.Helper()
	slots := make(chan struct{}, 4)
	var all sync.WaitGroup
	for range count {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			var out bytes.Buffer
			code, err := d.Exec(t.Context(), id, wire.ExecRequest{Args: []string{"echo", "hi"}}, client.Stdio{In: in, Out: &out})
			if err != nil || code != 0 || out.String() != "hi\n" {
				t.Errorf("exit code %d, %v, output %q", code, err, out.String())
			}
		})
	}
	all.Wait()
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
