package daemontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"sandpool/configs"
	"sandpool/daemon"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
	"sandpool/scripts/testhost"
)

// patience is how long a test waits for what must come; a machine under load is slow.
const patience = 90 * time.Second

var host *testhost.Host

func TestMain(m *testing.M) {
	// Two runs at once must not see each other's cgroups.
	namespace := fmt.Sprintf("sandpool-daemon-%d", os.Getpid())
	os.Exit(testhost.Main(m, testhost.Options{Namespace: namespace}, &host))
}

// testConfig is a configuration for the test host, with a pool of the given size and folders of the test's own.
// A daemon that is stopped removes its sandboxes.
func testConfig(t *testing.T, target, most int) configs.Config {
	t.Helper()
	dir, err := os.MkdirTemp(host.Dir, "d") //nolint:usetesting // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	cfg := configs.Default()
	cfg.Daemon.Socket, cfg.Daemon.StateDir = filepath.Join(dir, "s"), filepath.Join(dir, "state")
	cfg.Daemon.OnStop = configs.OnStopRemove
	cfg.Checkpoints.Dir = filepath.Join(dir, "checkpoints")
	cfg.Containerd.Address, cfg.Containerd.Namespace = host.Address, host.Namespace
	cfg.Runsc.Path, cfg.Runsc.Init = host.Runsc, host.Init
	slow := lifetime.Duration(patience)
	cfg.Runsc.CanaryTimeout, cfg.Limits.StartTimeout, cfg.Limits.ClaimWait = slow, slow, slow
	cfg.Limits.PauseTimeout, cfg.Limits.KillTimeout = slow, slow
	cfg.Templates["default"] = configs.Template{Image: configs.FileScheme + host.Image}
	cfg.Reserves = configs.Reserves{} // the machine may be short for reasons of its own
	p := cfg.Pools["default"]
	p.Min, p.Target, p.Max = target, target, most
	cfg.Pools["default"] = p
	return cfg
}

// running is a daemon in this process.
type running struct {
	*client.Client
	stop  context.CancelFunc
	ended chan error // gets what Run returned
}

// start runs a daemon and returns when it is ready. The test's end stops it and checks that nothing is left.
func start(t *testing.T, cfg configs.Config, change ...func(*daemon.Options)) *running {
	t.Helper()
	r, ready := launch(t, cfg, change...)
	select {
	case <-ready:
	case err := <-r.ended:
		r.ended <- err
		t.Fatalf("the daemon did not start: %v", err)
	}
	return r
}

func launch(t *testing.T, cfg configs.Config, change ...func(*daemon.Options)) (r *running, ready <-chan struct{}) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r = &running{Client: &client.Client{Socket: cfg.Daemon.Socket}, stop: stop, ended: make(chan error, 1)}
	isReady := make(chan struct{})
	once := sync.OnceFunc(func() { close(isReady) }) // a reload ends with it too
	options := daemon.Options{
		Config: cfg, Version: "test",
		Notify: func(state string) {
			if strings.HasPrefix(state, "READY=1") {
				once()
			}
		},
		Step: func(string) {},
		Log:  slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&options)
	}
	go func() { r.ended <- daemon.New(options).Run(ctx) }()
	t.Cleanup(func() {
		r.finish(t)
		if cfg.Daemon.OnStop == configs.OnStopRemove {
			checkNothingLeft(t)
		}
	})
	return r, isReady
}

// finish stops the daemon and waits for its end. It may be called again.
func (r *running) finish(t *testing.T) {
	t.Helper()
	r.Close()
	r.stop()
	err := <-r.ended
	r.ended <- nil
	if err != nil {
		t.Errorf("the daemon stopped with %v", err)
	}
}

// failToStart runs a daemon that must not start and returns why it did not.
func failToStart(t *testing.T, cfg configs.Config) string {
	t.Helper()
	r, ready := launch(t, cfg)
	select {
	case <-ready:
		t.Fatal("the daemon started")
		return ""
	case err := <-r.ended:
		r.ended <- nil
		if err == nil {
			t.Fatal("no error")
		}
		return err.Error()
	}
}

func checkNothingLeft(t *testing.T) {
	t.Helper()
	left := slices.Concat(containers(t, ""), host.Leftovers())
	if len(left) > 0 {
		t.Errorf("left over:\n%s", strings.Join(left, "\n"))
	}
}

// containers returns the ids of the namespace's containers with the given state in their labels, "" for all.
func containers(t *testing.T, state string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	// Not by ctr, which takes some tens of milliseconds of a processor: tests ask again and again. Each time anew, since containerd may have been killed.
	c, err := containerd.New(host.Address, containerd.WithDefaultNamespace(host.Namespace), containerd.WithTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it was only read
	var filters []string
	if state != "" {
		filters = []string{fmt.Sprintf(`labels."sandpool.state"==%q`, state)}
	}
	all, err := c.ContainerService().List(namespaces.WithNamespace(ctx, host.Namespace), filters...)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, found := range all {
		ids = append(ids, found.ID)
	}
	return ids
}

func ctr(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	cmd := host.Command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ctr %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}

// await asks until done is true.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := testhost.Poll(ctx, 20*time.Millisecond, done); err != nil {
		t.Fatalf("waited in vain until %s", what)
	}
}

// awaitPool waits until the pool is full, claimed sandboxes included, and nothing is under way in it.
func awaitPool(t *testing.T, c *client.Client) wire.Pool {
	t.Helper()
	var p wire.Pool
	await(t, "the pool is full", func() bool {
		p = onlyPool(t, c)
		return p.Total >= p.Wanted && p.Warming == 0 && p.Waiting == 0
	})
	return p
}

func onlyPool(t *testing.T, c *client.Client) wire.Pool {
	t.Helper()
	pools, err := c.Pools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(pools) != 1 {
		t.Fatalf("pools are %+v, want one", pools)
	}
	return pools[0]
}

func claim(t *testing.T, c *client.Client, req wire.ClaimRequest) wire.Claim {
	t.Helper()
	got, err := c.Claim(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// output runs a command in a claim's sandbox and returns its exit code and all that it wrote.
func output(ctx context.Context, c *client.Client, id, stdin string, args ...string) (int, string, error) {
	var out bytes.Buffer
	code, err := c.Exec(ctx, id, wire.ExecRequest{Args: args}, client.Stdio{In: strings.NewReader(stdin), Out: &out, Err: &out})
	return code, out.String(), err
}

// checkAlive checks that a claim's sandbox, and no other, runs its commands.
func checkAlive(t *testing.T, c *client.Client, claim wire.Claim) {
	t.Helper()
	code, out, err := output(t.Context(), c, claim.ID, "", "hostname")
	if err != nil || code != 0 || out != claim.Sandbox+"\n" {
		t.Errorf("hostname in claim %s of sandbox %s: exit code %d, %q, %v", claim.ID, claim.Sandbox, code, out, err)
	}
}

func wantError(t *testing.T, err error, code string) {
	t.Helper()
	if answer, ok := errors.AsType[*wire.Error](err); !ok || answer.Code != code {
		t.Errorf("error %v, want one with code %s", err, code)
	}
}
