package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.opentelemetry.io/otel/trace/noop"

	"sandpool/configs"
	"sandpool/daemon/processes"
	"sandpool/daemon/telemetry"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/pool/pooltest"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/image"
	"sandpool/scripts/testhost"
)

// The claims that the fake knows.
const (
	runningID = "c-aaaaaaaaaaaaaaaa"
	deadID    = "c-dddddddddddddddd"
	othersID  = "c-oooooooooooooooo"
	missingID = "c-zzzzzzzzzzzzzzzz"
)

// fakeClaims keeps claims without sandboxes.
type fakeClaims struct {
	mu       sync.Mutex
	claims   map[string]pool.Claim
	err      error                           // what Claim fails with
	grant    func() (pool.Claim, error)      // what Claim answers with instead, if not nil
	onClaim  func(ctx context.Context) error // called by Claim
	last     pool.Request
	released chan string
}

func newFakeClaims(owner string) *fakeClaims {
	f := &fakeClaims{claims: map[string]pool.Claim{}, released: make(chan string, 8)}
	f.claims[runningID] = pooltest.Claim(runningID, owner, pool.Claimed)
	f.claims[deadID] = pooltest.Claim(deadID, owner, pool.Dead)
	f.claims[othersID] = pooltest.Claim(othersID, "uid:4242", pool.Claimed)
	return f
}

func (f *fakeClaims) Claim(ctx context.Context, req pool.Request) (pool.Claim, bool, error) {
	if f.onClaim != nil {
		if err := f.onClaim(ctx); err != nil {
			return pool.Claim{}, false, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = req
	if f.grant != nil {
		claim, err := f.grant()
		return claim, false, err
	}
	return f.claims[runningID], req.RequestID == "again", f.err
}

func (f *fakeClaims) Release(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.claims[id]; !ok {
		return errdefs.ErrNotFound
	}
	delete(f.claims, id)
	f.released <- id
	return nil
}

func (f *fakeClaims) Get(id string) (pool.Claim, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.claims[id]
	if !ok {
		return pool.Claim{}, errdefs.ErrNotFound
	}
	return c, nil
}

func (f *fakeClaims) Claims() []pool.Claim {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []pool.Claim{f.claims[runningID], f.claims[othersID]}
}

// Extend counts the extension, up to the first.
func (f *fakeClaims) Extend(_ context.Context, id string, _ time.Duration) (pool.Claim, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.claims[id]
	if c.Lease.Extended > 0 {
		return pool.Claim{}, errdefs.ErrFailedPrecondition.WithMessage("all extensions are used")
	}
	c.Lease.Extended++
	f.claims[id] = c
	return c, nil
}

func (f *fakeClaims) SetNetwork(_ context.Context, id string, change func(string) (string, error)) (pool.Claim, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.claims[id]
	network, err := change(c.Network)
	if err != nil {
		return pool.Claim{}, err
	}
	c.Network = network
	f.claims[id] = c
	return c, nil
}

func (f *fakeClaims) Use(_ context.Context, id string) (pool.Claim, func(), error) {
	c, err := f.Get(id)
	if err == nil && c.State == pool.Dead {
		err = errdefs.ErrFailedPrecondition.WithMessage("it is dead: " + c.Reason)
	}
	return c, func() {}, err
}

// The checkpoints on the fake shelf: one of each owner.
const (
	savedID       = "ck-aaaaaaaaaaaaaaaa"
	othersSavedID = "ck-oooooooooooooooo"
)

// fakeSizes is the size of the only pool, default.
type fakeSizes struct {
	mu   sync.Mutex
	size pool.Size
}

func newFakeSizes() *fakeSizes {
	return &fakeSizes{size: pool.Size{Min: 2, Target: 8, Max: 32, ScaleUp: 70, ScaleDown: 30}}
}

func (f *fakeSizes) get() pool.Size {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size
}

func (f *fakeSizes) Resize(template string, change func(*pool.Size)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if template != "default" {
		return errdefs.ErrNotFound.WithMessage("no such pool")
	}
	size := f.size
	change(&size)
	if err := size.Validate(); err != nil {
		return err
	}
	f.size = size
	return nil
}

func (f *fakeSizes) Drain(template string) error {
	return f.Resize(template, func(s *pool.Size) { s.Hold = true })
}

// fakeProcess echoes its input and ends with it, with exit code 7, or with a signal.
type fakeProcess struct {
	spec    runtime.ExecSpec
	ended   chan int
	resized chan [2]uint16
	killed  chan error // the cause, when the context of Wait ended
}

func startFakeProcess(spec runtime.ExecSpec) *fakeProcess {
	p := &fakeProcess{spec: spec, ended: make(chan int, 2), resized: make(chan [2]uint16, 1), killed: make(chan error, 1)}
	switch spec.Args[0] {
	case "cat":
		go func() {
			_, _ = io.Copy(spec.Stdout, spec.Stdin)
			_, _ = io.WriteString(spec.Stderr, "done")
			p.ended <- 7
		}()
	case "flood":
		go func() {
			for chunk := bytes.Repeat([]byte("x"), 1<<20); ; {
				if _, err := spec.Stdout.Write(chunk); err != nil {
					return
				}
			}
		}()
	}
	return p
}

func (p *fakeProcess) Resize(_ context.Context, rows, cols uint16) error {
	p.resized <- [2]uint16{rows, cols}
	return nil
}

func (p *fakeProcess) Signal(_ context.Context, signal syscall.Signal) error {
	p.ended <- 128 + int(signal)
	return nil
}

func (p *fakeProcess) Wait(ctx context.Context) (int, error) {
	select {
	case code := <-p.ended:
		return code, nil
	case <-ctx.Done():
		p.killed <- context.Cause(ctx)
		return 0, context.Cause(ctx)
	}
}

// testServer is a server on a real socket, with the API over fakes.
type testServer struct {
	*Server
	api       *api
	claims    *fakeClaims
	saver     *fakeSaver
	shelf     *fakeShelf
	networks  *fakeNetworks
	sizes     *fakeSizes
	processes chan *fakeProcess
	before    func(r *http.Request) // called for each request, with what net/http knows of it, if not nil
	body      time.Duration         // how long a body may take, if not 0
	write     time.Duration         // how long a client may take to receive what is written, if not 0
	socket    string
	http      *http.Client
}

func startServer(t *testing.T) *testServer {
	t.Helper()
	ts := newTestAPI(t)
	ts.listen(t)
	return ts
}

// echoPort is the only port where somebody listens in the sandbox.
const echoPort = 7

// newTestAPI is a testServer that does not listen.
func newTestAPI(t *testing.T) *testServer {
	t.Helper()
	me := actor{uid: uint32(os.Geteuid())}
	ts := &testServer{
		claims: newFakeClaims(me.owner()), saver: &fakeSaver{manifest: checkpoint.Manifest{ID: savedID, Owner: me.owner()}}, shelf: newFakeShelf(me.owner()), networks: &fakeNetworks{more: make(chan struct{})},
		sizes: newFakeSizes(), processes: make(chan *fakeProcess, 8),
	}
	cfg := configs.Default()
	status := func() []pool.Overview {
		return []pool.Overview{{Config: pool.Config{Name: "local:default", Template: "default", Size: ts.sizes.get()}, Available: 5, InUse: 2, Warming: 1, Total: 7,
			Counters: pool.Counters{Started: 9, StartsFailed: 1, Destroyed: 3, Died: 2}}}
	}
	metrics := telemetry.New("test", telemetry.Labels{Refusals: Refusals})
	metrics.Watch(telemetry.Sources{
		Pools: status, Claims: ts.claims.Claims, Checkpoints: ts.shelf.List, Outage: func() error { return nil }, Blocks: func(string) bool { return false },
	})
	ts.api = newAPI(Options{
		Claims: ts.claims, Keeper: ts.saver, Shelf: ts.shelf, Networks: ts.networks, Pools: status, Sizes: ts.sizes,
		Images: func(context.Context) ([]image.Status, error) { return nil, nil },
		Alive:  func(string) bool { return true },
		Exec: func(_ context.Context, _ string, spec runtime.ExecSpec) (processes.Process, error) {
			if spec.Args[0] == "missing" {
				return nil, errdefs.ErrNotFound.WithMessage("no such command")
			}
			p := startFakeProcess(spec)
			ts.processes <- p
			return p, nil
		},
		Port: func(_ context.Context, _ string, port int, spec runtime.ExecSpec) (processes.Process, error) {
			if port != echoPort {
				return nil, errdefs.ErrFailedPrecondition.WithMessage("nobody listens")
			}
			spec.Args = []string{"cat"}
			return startFakeProcess(spec), nil
		},
		Processes: func(context.Context, string) (runtime.Processes, error) {
			return runtime.Processes{}, errdefs.ErrFailedPrecondition.WithMessage("the init is of an older release")
		},
		Ready: func() error { return nil },
		Info:  wire.Info{Version: "test", Region: "local"}, Promised: func() wire.Promised { return wire.Promised{MemoryMiB: 1} },
		Config:  func() *configs.Config { return &cfg },
		Metrics: metrics, Step: func(string) {},
		Tracer: noop.NewTracerProvider().Tracer(""),
		Log:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return ts
}

func (ts *testServer) listen(t *testing.T) {
	t.Helper()
	ts.listenBy(t, func(ln net.Listener) net.Listener { return ln })
}

// listenBy is listen by what is made of the socket's listener.
func (ts *testServer) listenBy(t *testing.T, by func(net.Listener) net.Listener) {
	t.Helper()
	socket := filepath.Join(testhost.ShortDir(t), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ts.Server, ts.socket = newServer(ts.api), socket
	ts.Server.body, ts.Server.write = cmp.Or(ts.body, ts.Server.body), cmp.Or(ts.write, ts.Server.write)
	if inner := ts.Server.http.Handler; ts.before != nil {
		ts.Server.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ts.before(r)
			inner.ServeHTTP(w, r)
		})
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := ts.Serve(by(ln)); err != nil {
			t.Error(err)
		}
	})
	ts.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", ts.socket)
		},
	}}
	t.Cleanup(func() {
		ts.http.CloseIdleConnections()
		ts.Stop()
		serving.Wait()
	})
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; header holds lines such as "Origin: x".
func (ts *testServer) do(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sandpool"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := ts.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// counted is the value of a series, as an operator is shown it; 0 when there is none.
func (ts *testServer) counted(t *testing.T, series string) float64 {
	t.Helper()
	w := httptest.NewRecorder()
	ts.api.Metrics.Handler(true).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	_, rest, found := strings.Cut(w.Body.String(), "\n"+series+" ")
	if !found {
		return 0
	}
	text, _, _ := strings.Cut(rest, "\n")
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
