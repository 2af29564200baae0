package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// fakeDaemon answers the API from memory, on a real unix socket.
type fakeDaemon struct {
	t      *testing.T
	socket string

	mu        sync.Mutex
	last      wire.ClaimRequest
	bound     []wire.BoundSecret
	claims    map[string]wire.Claim
	pool      wire.Pool
	changed   string // the last request that changed a pool or used a claim in another way than by a command
	saved     []wire.Checkpoint
	savings   int    // checkpoints made
	saving    func() // called before one is made, if not nil
	made      int
	asked     int    // for images
	imageEnds string // the state of its image once it was asked for
	served    []wire.Tier
	exec      func(conn net.Conn, stream io.Reader, req wire.ExecRequest) // nil: the command ends with 0
	claimed   func()                                                      // called before a claim is answered, if not nil; then it is not
	releasing chan struct{}                                               // two releases wait for each other, if not nil
	listed    func()                                                      // called with mu held, after the claims to list were read, if not nil
	start     func(req wire.ProcessRequest)                               // may be nil
}

// startProcess starts any program as process 17 but no-such.
func (f *fakeDaemon) startProcess(w http.ResponseWriter, r *http.Request) {
	var req wire.ProcessRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		f.t.Error(err)
	}
	if f.start != nil {
		f.start(req)
	}
	var answer any = wire.Process{PID: 17, Args: req.Args}
	w.Header().Set("Content-Type", "application/json")
	if req.Args[0] == "no-such" {
		answer = wire.Error{Status: http.StatusBadRequest, Code: wire.CodeCommandNotFound, Message: "no such program"}
		w.WriteHeader(http.StatusBadRequest)
	} else {
		w.WriteHeader(http.StatusCreated)
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		f.t.Error(err)
	}
}

// processes tells of process 17, which was started by itself and ends when it is followed, and of process 1.
func (f *fakeDaemon) processes(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := wire.Process{PID: 17, Args: []string{"sleep", "9"}, Supervised: true, State: "S", CPUMS: 1500, MemoryBytes: 3 << 19, StartedAt: time.Now().Add(-time.Hour)}
	switch _, ok := f.claims[r.PathValue("id")]; {
	case !ok:
		refuse(w, http.StatusNotFound, "not_found", "no such claim")
	case strings.HasSuffix(r.URL.Path, "/output"):
		p.State, p.ExitCode = "ended", new(7)
		reply(w, http.StatusOK, wire.ProcessOutput{Process: &p})
	case r.PathValue("pid") != "":
		reply(w, http.StatusOK, p)
	default:
		reply(w, http.StatusOK, wire.ProcessList{Processes: []wire.Process{{PID: 1, Args: []string{"init"}, State: "S", StartedAt: p.StartedAt}, p}})
	}
}

func newFake(t *testing.T) *fakeDaemon {
	t.Helper()
	f := &fakeDaemon{
		t:      t,
		socket: filepath.Join(t.TempDir(), "s"),
		claims: map[string]wire.Claim{},
		pool:   wire.Pool{Name: "local:default", Template: "default", Min: 1, Target: 2, Max: 4, Wanted: 2, Available: 2, Ready: 2, Total: 2},
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/claims", f.claim)
	mux.HandleFunc("GET /v1/claims", f.list)
	mux.HandleFunc("GET /v1/claims/{id}", f.one)
	mux.HandleFunc("DELETE /v1/claims/{id}", f.one)
	mux.HandleFunc("POST /v1/claims/{id}/exec", f.run)
	mux.HandleFunc("POST /v1/claims/{id}/ports/{port}", f.run)
	mux.HandleFunc("POST /v1/claims/{id}/processes", f.startProcess)
	mux.HandleFunc("GET /v1/claims/{id}/processes", f.processes)
	mux.HandleFunc("GET /v1/claims/{id}/processes/{pid}", f.processes)
	mux.HandleFunc("GET /v1/claims/{id}/processes/{pid}/output", f.processes)
	mux.HandleFunc("POST /v1/claims/{id}/extend", f.extend)
	mux.HandleFunc("POST /v1/claims/{id}/checkpoint", f.checkpoint)
	mux.HandleFunc("POST /v1/claims/{id}/fork", f.fork)
	f.serveNetwork(mux)
	mux.HandleFunc("GET /v1/checkpoints", f.checkpoints)
	mux.HandleFunc("DELETE /v1/checkpoints/{id}", f.deleteCheckpoint)
	mux.HandleFunc("GET /v1/pools", f.pools)
	mux.HandleFunc("PUT /v1/pools/{name}", f.change)
	mux.HandleFunc("POST /v1/pools/{name}/drain", f.change)
	mux.HandleFunc("GET /v1/templates", f.templates)
	mux.HandleFunc("POST /v1/templates/{name}/check", f.checkTemplate)
	mux.HandleFunc("GET /v1/images", f.images)
	mux.HandleFunc("GET /v1/info", f.info)
	mux.HandleFunc("GET /v1/events", f.events)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(server.Close)
	return f
}

// sandpool runs a command line against the fake.
func (f *fakeDaemon) sandpool(args ...string) (code int, out, errOut string) {
	return f.sandpoolWith(strings.NewReader(""), args...)
}

func (f *fakeDaemon) sandpoolWith(in io.Reader, args ...string) (code int, out, errOut string) {
	var stdout, stderr bytes.Buffer
	code = run(f.t.Context(), append([]string{"--socket", f.socket}, args...), in, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func reply(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, wire.Error{Status: status, Code: code, Message: message})
}

// sourceOf has the sources of tiers.
var sourceOf = map[wire.Tier]wire.Source{wire.TierPaused: wire.SourcePool, wire.TierRestored: wire.SourceCheckpoint, wire.TierTemplate: wire.SourceSnapshot, wire.TierCold: wire.SourceStart}

func (f *fakeDaemon) claim(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = wire.ClaimRequest{}
	if err := json.NewDecoder(r.Body).Decode(&f.last); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_argument", err.Error())
		return
	}
	switch f.last.Template {
	case "empty":
		refuse(w, http.StatusServiceUnavailable, "pool_empty", "none left")
		return
	case "quota":
		refuse(w, http.StatusTooManyRequests, "quota", "too many")
		return
	case "unknown":
		refuse(w, http.StatusNotFound, "not_found", "no template unknown")
		return
	}
	tier := wire.TierPaused
	switch {
	case f.last.Checkpoint != "":
		tier = wire.TierRestored
	case f.last.Template == "snapshot":
		tier = wire.TierTemplate
	case f.last.Start == wire.StartCold || f.pool.Available == 0:
		tier = wire.TierCold
	default:
		f.pool.Available--
	}
	f.made++
	now := time.Now()
	c := wire.Claim{
		ID: fmt.Sprintf("c%d", f.made), Sandbox: "sp-1", Template: "default", Pool: "local:default", Owner: "0", State: wire.ClaimRunning,
		Tier: tier, Source: sourceOf[tier], RequestID: f.last.RequestID, Metadata: f.last.Metadata, ClaimedAt: now.Add(-90 * time.Minute), ExpiresAt: now.Add(time.Hour + 20*time.Second),
	}
	if tier == wire.TierCold || tier == wire.TierTemplate {
		c.Phases = &wire.Phases{Schedule: 1, Image: 2, Sentry: 30, UserSpace: 4, Ready: 500}
	}
	f.claims[c.ID] = c
	f.served = append(f.served, tier)
	if f.claimed != nil {
		f.claimed()
		panic(http.ErrAbortHandler)
	}
	reply(w, http.StatusCreated, c)
}

func (f *fakeDaemon) list(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := wire.ClaimList{Claims: []wire.Claim{}}
	for i := range f.made {
		if c, ok := f.claims[fmt.Sprintf("c%d", i+1)]; ok {
			list.Claims = append(list.Claims, c)
		}
	}
	if f.listed != nil {
		f.listed()
	}
	reply(w, http.StatusOK, list)
}

func (f *fakeDaemon) one(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete && f.releasing != nil {
		select {
		case f.releasing <- struct{}{}:
		case <-f.releasing:
		case <-time.After(time.Minute):
			f.t.Error("one release waits for the other")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.claims[r.PathValue("id")]
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "not_found", "no such claim")
	case r.Method == http.MethodDelete:
		delete(f.claims, c.ID)
		w.WriteHeader(http.StatusNoContent)
	default:
		reply(w, http.StatusOK, c)
	}
}

// pools puts one sandbox back each time it is asked, as a refill would.
func (f *fakeDaemon) pools(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pool.Ready = f.pool.Available
	reply(w, http.StatusOK, wire.PoolList{Pools: []wire.Pool{f.pool}})
	f.pool.Available = min(f.pool.Available+1, f.pool.Target)
}

// change notes the request and answers with the pool, on hold.
func (f *fakeDaemon) change(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.PathValue("name") == "unknown" {
		refuse(w, http.StatusNotFound, "not_found", "no such pool")
		return
	}
	body, _ := io.ReadAll(r.Body)
	f.changed = r.Method + " " + r.URL.Path + " " + string(body)
	pool := f.pool
	pool.Ready = pool.Available
	pool.Hold, pool.Blocked = true, "memory: little left"
	reply(w, http.StatusOK, pool)
}

func (f *fakeDaemon) info(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, wire.Info{
		Version: "v1", PID: 7, StartedAt: time.Now().Add(-50 * time.Hour), Region: "local", Containerd: "v2.4.2", Namespace: "sandpool", Runsc: "release-1", Shim: "io.containerd.x.v1",
		Platform: "systrap", Canaries: []wire.Canary{{Platform: "kvm", Reason: "too slow"}, {Platform: "systrap", OK: true}}, Warnings: []string{"old key"}, Promised: wire.Promised{MemoryMiB: 4096, HostMemoryMiB: 24000, DiskMiB: 20480, HostDiskMiB: 250000},
	})
}

// events tells of the claims that were made since the cursor, a number of claims.
func (f *fakeDaemon) events(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, _ := strconv.Atoi(r.FormValue("after")) // at first there is none
	for i := seen + 1; i <= f.made; i++ {
		_ = json.NewEncoder(w).Encode(wire.Event{Cursor: strconv.Itoa(i), Time: time.Now(), Kind: "claimed", Claim: fmt.Sprintf("c%d", i), Message: "it was claimed"})
	}
}

func (f *fakeDaemon) run(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	_, ok := f.claims[r.PathValue("id")]
	session := f.exec
	f.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "no such claim")
		return
	}
	var req wire.ExecRequest
	if port := r.PathValue("port"); port != "" {
		req.Args = []string{"port", port}
	} else if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_argument", err.Error())
		return
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.t.Error(err)
		return
	}
	defer conn.Close() //nolint:errcheck // the client sees the end either way
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+wire.ExecProtocol+"\r\n\r\n")
	if session == nil {
		f.frame(conn, wire.FrameExit, 0, 0, 0, 0)
	} else {
		session(conn, buf, req)
	}
	_, _ = io.Copy(io.Discard, buf)
}

func (f *fakeDaemon) frame(w io.Writer, kind wire.Kind, payload ...byte) {
	if err := wire.WriteFrame(w, wire.Frame{Kind: kind, Payload: payload}); err != nil {
		f.t.Error(err)
	}
}

// claimOne makes a claim and returns its id.
func (f *fakeDaemon) claimOne() string {
	f.t.Helper()
	code, out, errOut := f.sandpool("claim")
	if code != 0 {
		f.t.Fatalf("claim: exit %d: %s", code, errOut)
	}
	return strings.TrimSpace(out)
}
