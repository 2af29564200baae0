package daemontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	goruntime "runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

func TestLifeOfAClaim(t *testing.T) {
	before := goruntime.NumGoroutine()
	d := start(t, testConfig(t, 2, 4))
	awaitPool(t, d.Client)
	if paused := strings.Count(ctr(t, "tasks", "ls"), "PAUSED"); paused != 2 {
		t.Errorf("%d tasks are paused, want 2", paused)
	}
	c := claim(t, d.Client, wire.ClaimRequest{RequestID: "job 1"})
	if c.Tier != wire.TierPaused || c.State != wire.ClaimRunning || c.Owner != "uid:0" || c.Pool != "local:default" ||
		c.ExpiresAt.Sub(c.ClaimedAt) != 24*time.Hour || c.Type != "development" {
		t.Errorf("claim is %+v", c)
	}
	checkAlive(t, d.Client, c)

	again := claim(t, d.Client, wire.ClaimRequest{RequestID: "job 1"})
	if again.ID != c.ID || again.Sandbox != c.Sandbox {
		t.Errorf("repeated request got %+v, want the first claim", again)
	}
	if list, err := d.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != c.ID {
		t.Errorf("claims are %+v, %v", list, err)
	}

	if err := d.Release(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(containers(t, ""), c.Sandbox) {
		t.Error("the released sandbox is still there")
	}
	wantError(t, d.Release(t.Context(), c.ID), "not_found")
	_, _, err := output(t.Context(), d.Client, c.ID, "", "true")
	wantError(t, err, "not_found")
	awaitPool(t, d.Client)

	d.finish(t)
	if _, err := os.Lstat(d.Socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	checkGoroutines(t, before)
}

// checkGoroutines checks that the daemon left no goroutine. Those of closed connections need a moment to end.
func checkGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(patience); goruntime.NumGoroutine() > before; goruntime.Gosched() {
		if time.Now().After(deadline) {
			var stacks bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Fatalf("%d goroutines, %d before:\n%s", goruntime.NumGoroutine(), before, stacks.String())
		}
	}
}

func TestExec(t *testing.T) {
	d := start(t, testConfig(t, 1, 1))
	c := claim(t, d.Client, wire.ClaimRequest{})
	var out, errs bytes.Buffer
	code, err := d.Exec(t.Context(), c.ID, wire.ExecRequest{
		Args: []string{"sh", "-c", "cat; echo $GREETING >&2; pwd; exit 7"}, Env: []string{"GREETING=hello"}, Cwd: "/tmp",
	}, client.Stdio{In: strings.NewReader("input "), Out: &out, Err: &errs})
	if err != nil || code != 7 || out.String() != "input /tmp\n" || errs.String() != "hello\n" {
		t.Errorf("exit code %d, %v, stdout %q, stderr %q", code, err, out.String(), errs.String())
	}

	t.Run("gVisor", func(t *testing.T) {
		if code, out, err := output(t.Context(), d.Client, c.ID, "", "cat", "/proc/version"); err != nil || code != 0 || !strings.Contains(out, "gvisor") {
			t.Errorf("/proc/version: %d, %q, %v", code, out, err)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		var out bytes.Buffer
		code, err := d.Exec(t.Context(), c.ID, wire.ExecRequest{
			Args: []string{"sh", "-c", "until stty size | grep -q ' 77'; do sleep 0.05; done; stty size; test -t 0"}, TTY: true, Rows: 33, Cols: 77,
		}, client.Stdio{Out: &out})
		if err != nil || code != 0 || !strings.Contains(out.String(), "33 77") {
			t.Errorf("exit code %d, %v, output %q", code, err, out.String())
		}
	})
	t.Run("much data", func(t *testing.T) {
		input := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB
		if code, out, err := output(t.Context(), d.Client, c.ID, input, "cat"); err != nil || code != 0 || out != input {
			t.Errorf("exit code %d, %v, %d bytes of %d", code, err, len(out), len(input))
		}
	})
	t.Run("signal", func(t *testing.T) {
		control := make(chan wire.Frame, 1)
		started := writerFunc(func(data []byte) (int, error) {
			control <- client.Signal(15)
			return len(data), nil
		})
		code, err := d.Exec(t.Context(), c.ID, wire.ExecRequest{Args: []string{"sh", "-c", "trap 'exit 9' TERM; echo; while :; do sleep 0.1; done"}},
			client.Stdio{Out: started, Control: control})
		if err != nil || code != 9 {
			t.Errorf("exit code %d, %v", code, err)
		}
	})
	t.Run("slow reader", func(t *testing.T) {
		const size = 300000 // fills the buffers on the way, so that the command ends long before its output is read
		var out slowWriter
		code, err := d.Exec(t.Context(), c.ID, wire.ExecRequest{Args: []string{"head", "-c", strconv.Itoa(size), "/dev/zero"}}, client.Stdio{Out: &out})
		if err != nil || code != 0 || out.size != size {
			t.Errorf("exit code %d, %v, %d bytes of %d", code, err, out.size, size)
		}
	})
	t.Run("client gone", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		started := writerFunc(func(data []byte) (int, error) {
			leave()
			return len(data), nil
		})
		_, err := d.Exec(ctx, c.ID, wire.ExecRequest{Args: []string{"sh", "-c", "echo; exec sleep 4321"}}, client.Stdio{Out: started})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		await(t, "the command is killed", func() bool {
			_, out, err := output(t.Context(), d.Client, c.ID, "", "ps")
			return err == nil && !strings.Contains(out, "4321")
		})
	})
	for command, want := range map[string]int{"no-such-command": 127, "/no/such/command": 127, "/etc/passwd": 126, "/tmp": 126} {
		t.Run("command "+command, func(t *testing.T) {
			if code, out, err := output(t.Context(), d.Client, c.ID, "", command); err != nil || code != want || !strings.Contains(out, command) {
				t.Errorf("exit code %d, %q, %v; want %d and its name", code, out, err, want)
			}
		})
	}
	t.Run("port", func(t *testing.T) { testPort(t, d.Client, c.ID) })
	t.Run("released meanwhile", func(t *testing.T) {
		started := writerFunc(func(data []byte) (int, error) {
			return len(data), d.Release(t.Context(), c.ID)
		})
		_, err := d.Exec(t.Context(), c.ID, wire.ExecRequest{Args: []string{"sh", "-c", "echo; exec sleep 4321"}}, client.Stdio{Out: started})
		wantError(t, err, "conflict")
	})
}

// testPort asks an HTTP server in a sandbox, which has no network, from outside.
func testPort(t *testing.T, d *client.Client, id string) {
	get := func() string {
		ask := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return d.DialPort(t.Context(), id, 8000), nil
		}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandbox/page", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := ask.RoundTrip(req)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", len(body), " ", err)
	}
	if got := get(); !strings.Contains(got, "connect to port 8000: connection refused") {
		t.Errorf("nobody listens: %s", got)
	}
	const serve = "head -c 1000000 /dev/zero > /tmp/page; /.sandpool/init spawn -- httpd -f -p 127.0.0.1:8000 -h /tmp"
	if code, out, err := output(t.Context(), d, id, "", "sh", "-c", serve); err != nil || code != 0 {
		t.Fatalf("serve: exit code %d, %q, %v", code, out, err)
	}
	got := ""
	await(t, "the server answers", func() bool {
		got = get()
		return !strings.Contains(got, "refused")
	})
	if got != "200 1000000 <nil>" {
		t.Errorf("the server answers %s", got)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(data []byte) (int, error) { return f(data) }

// slowWriter is a reader of output that takes a long break, longer than the output of an ended command is waited for.
type slowWriter struct{ size int }

func (w *slowWriter) Write(data []byte) (int, error) {
	if w.size == 0 {
		<-time.After(3 * time.Second)
	}
	w.size += len(data)
	return len(data), nil
}

func TestClaimsEndInTime(t *testing.T) {
	d := start(t, testConfig(t, 1, 2))
	c := claim(t, d.Client, wire.ClaimRequest{Lifetime: new(lifetime.Duration(2 * time.Second))})
	await(t, "the claim has expired", func() bool {
		_, err := d.Get(t.Context(), c.ID)
		return err != nil
	})
	_, err := d.Get(t.Context(), c.ID)
	wantError(t, err, "not_found")
	if time.Now().Before(c.ExpiresAt) {
		t.Errorf("expired before %s", c.ExpiresAt)
	}
	await(t, "its sandbox is gone", func() bool { return !slices.Contains(containers(t, ""), c.Sandbox) })
}

func TestEmptyPool(t *testing.T) {
	cfg := testConfig(t, 0, 1)
	d := start(t, cfg)
	none := lifetime.Duration(0)
	_, err := d.Claim(t.Context(), wire.ClaimRequest{Wait: &none})
	wantError(t, err, "pool_empty")
	c := claim(t, d.Client, wire.ClaimRequest{})
	if c.Tier != wire.TierCold {
		t.Errorf("tier is %s, want cold", c.Tier)
	}
	brief := lifetime.Duration(50 * time.Millisecond)
	_, err = d.Claim(t.Context(), wire.ClaimRequest{Wait: &brief})
	wantError(t, err, "pool_empty")
	_, err = d.Claim(t.Context(), wire.ClaimRequest{Template: "other"})
	wantError(t, err, "not_found")
}

// TestFiftyClients lets 50 clients at once claim, use and release sandboxes of a pool of 8.
func TestFiftyClients(t *testing.T) {
	const clients, size = 50, 8
	d := start(t, testConfig(t, size, size))
	awaitPool(t, d.Client)
	var mu sync.Mutex
	given := map[string]string{} // claims by sandbox
	wait := lifetime.Duration(5 * time.Minute)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			c, err := d.Claim(t.Context(), wire.ClaimRequest{Wait: &wait})
			if err != nil {
				t.Errorf("claim: %v", err)
				return
			}
			mu.Lock()
			if other, twice := given[c.Sandbox]; twice {
				t.Errorf("sandbox %s was given to claims %s and %s", c.Sandbox, other, c.ID)
			}
			given[c.Sandbox] = c.ID
			mu.Unlock()
			if listed, err := d.Get(t.Context(), c.ID); err != nil || listed.Sandbox != c.Sandbox || listed.State != wire.ClaimRunning {
				t.Errorf("answered claim %s is %+v, %v", c.ID, listed, err)
			}
			checkAlive(t, d.Client, c)
			if err := d.Release(t.Context(), c.ID); err != nil {
				t.Errorf("release: %v", err)
			}
		})
	}
	all.Wait()
	if len(given) != clients {
		t.Errorf("%d sandboxes were given to %d clients", len(given), clients)
	}
	awaitPool(t, d.Client)
	if list, err := d.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("claims are left: %+v, %v", list, err)
	}
	warm := containers(t, "warm")
	if len(warm) != size {
		t.Errorf("%d sandboxes are warm, want %d", len(warm), size)
	}
	for _, id := range warm {
		if claim, used := given[id]; used {
			t.Errorf("sandbox %s of claim %s is back in the pool", id, claim)
		}
	}
}

func TestKeepOnStop(t *testing.T) {
	cfg := testConfig(t, 2, 4)
	cfg.Daemon.OnStop = configs.OnStopKeep
	d := start(t, cfg)
	awaitPool(t, d.Client)
	c := claim(t, d.Client, wire.ClaimRequest{RequestID: "job"})
	awaitPool(t, d.Client)
	before := containers(t, "")
	d.finish(t)

	cfg.Daemon.OnStop = configs.OnStopRemove
	d = start(t, cfg)
	if p := onlyPool(t, d.Client); p.Available != 1 || p.InUse != 1 {
		t.Errorf("pool after the restart: %+v, want 1 available and 1 in use", p)
	}
	if after := containers(t, ""); !slices.Equal(before, after) {
		t.Errorf("containers were %v and are %v", before, after)
	}
	again := claim(t, d.Client, wire.ClaimRequest{RequestID: "job"})
	if again.ID != c.ID || again.Sandbox != c.Sandbox || !again.ExpiresAt.Equal(c.ExpiresAt) {
		t.Errorf("claim is %+v, was %+v", again, c)
	}
	checkAlive(t, d.Client, again)
}
