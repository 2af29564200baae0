package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// serve runs a server on a unix socket of its own until the test ends.
func serve(t *testing.T, handler http.Handler) (*Client, *httptest.Server) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}}
	c := &Client{Socket: socket}
	t.Cleanup(server.Close)
	t.Cleanup(c.Close)
	return c, server
}

func answer(t *testing.T, w http.ResponseWriter, status int, body any) {
	t.Helper()
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		t.Error(err)
	}
}

func TestCalls(t *testing.T) {
	wait := lifetime.Duration(0)
	ask := wire.ClaimRequest{Template: "go", RequestID: "r", Start: wire.StartCold, Wait: &wait}
	claim := wire.Claim{ID: "c1", Template: "go", Tier: wire.TierCold, ExpiresAt: time.Unix(1, 0).UTC()}
	pool := wire.Pool{Name: "local:go", Target: 8}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/claims", func(w http.ResponseWriter, r *http.Request) {
		var got wire.ClaimRequest
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || !reflect.DeepEqual(got, ask) {
			t.Errorf("asked for %+v, %v", got, err)
		}
		answer(t, w, http.StatusCreated, claim)
	})
	mux.HandleFunc("GET /v1/claims", func(w http.ResponseWriter, _ *http.Request) {
		answer(t, w, http.StatusOK, wire.ClaimList{Claims: []wire.Claim{claim}})
	})
	mux.HandleFunc("GET /v1/claims/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer(t, w, http.StatusOK, wire.Claim{ID: r.PathValue("id")})
	})
	mux.HandleFunc("DELETE /v1/claims/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "a/../b" {
			t.Errorf("released %q", r.PathValue("id"))
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1/pools", func(w http.ResponseWriter, _ *http.Request) {
		answer(t, w, http.StatusOK, wire.PoolList{Pools: []wire.Pool{pool}})
	})
	mux.HandleFunc("GET /v1/info", func(w http.ResponseWriter, _ *http.Request) {
		answer(t, w, http.StatusOK, wire.Info{PID: 7})
	})
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})

	c, server := serve(t, mux)
	server.Start()
	ctx := t.Context()
	check := func(name string, got any, err error, want any) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	made, err := c.Claim(ctx, ask)
	check("Claim", made, err, claim)
	one, err := c.Get(ctx, "x y")
	check("Get", one.ID, err, "x y")
	all, err := c.List(ctx)
	check("List", all, err, []wire.Claim{claim})
	pools, err := c.Pools(ctx)
	check("Pools", pools, err, []wire.Pool{pool})
	info, err := c.Info(ctx)
	check("Info", info.PID, err, 7)
	check("Release", nil, c.Release(ctx, "a/../b"), nil)
	check("Ready", nil, c.Ready(ctx), nil)
}

// TestLifeCalls makes the calls that keep, save and copy claims: each must ask for its own path, with its own body.
func TestLifeCalls(t *testing.T) {
	asked := ""
	c, server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = fmt.Sprint(r.Method, " ", r.URL.EscapedPath(), " ", string(body))
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case strings.HasSuffix(r.URL.Path, "/fork"):
			answer(t, w, http.StatusCreated, wire.ClaimList{Claims: []wire.Claim{{ID: "made"}}})
		case strings.HasSuffix(r.URL.Path, "/checkpoints"):
			answer(t, w, http.StatusOK, wire.CheckpointList{Checkpoints: []wire.Checkpoint{{ID: "made"}}})
		default: // a claim or a checkpoint: both have an id
			answer(t, w, http.StatusOK, wire.Claim{ID: "made"})
		}
	}))
	server.Start()
	ctx := t.Context()
	for want, call := range map[string]func() (string, error){
		"POST /v1/claims/c%2F1/extend {}": func() (string, error) {
			claim, err := c.Extend(ctx, "c/1")
			return claim.ID, err
		},
		`POST /v1/claims/c%2F1/extend {"by":"1m0s"}`: func() (string, error) {
			claim, err := c.ExtendBy(ctx, "c/1", wire.ExtendRequest{By: new(lifetime.Duration(time.Minute))})
			return claim.ID, err
		},
		`POST /v1/claims/c%2F1/checkpoint {"stop":true,"comment":"x"}`: func() (string, error) {
			saved, err := c.Checkpoint(ctx, "c/1", wire.CheckpointRequest{Stop: true, Comment: "x"})
			return saved.ID, err
		},
		`POST /v1/claims/c%2F1/fork {"count":2,"type":"cicd","lifetime":"1m0s"}`: func() (string, error) {
			forks, err := c.Fork(ctx, "c/1", wire.ForkRequest{Count: 2, Type: "cicd", Lifetime: new(lifetime.Duration(time.Minute))})
			return firstID(forks, func(c wire.Claim) string { return c.ID }), err
		},
		"GET /v1/checkpoints ": func() (string, error) {
			all, err := c.Checkpoints(ctx)
			return firstID(all, func(c wire.Checkpoint) string { return c.ID }), err
		},
		"GET /v1/checkpoints/ck%2F1 ": func() (string, error) {
			saved, err := c.GetCheckpoint(ctx, "ck/1")
			return saved.ID, err
		},
		"DELETE /v1/checkpoints/ck%2F1 ": func() (string, error) { return "made", c.DeleteCheckpoint(ctx, "ck/1") },
	} {
		id, err := call()
		if err != nil || id != "made" || asked != want {
			t.Errorf("asked for %s and got %q, %v; want %s", asked, id, err, want)
		}
	}
}

// firstID is the id of the only one of a list.
func firstID[T any](list []T, id func(T) string) string {
	if len(list) != 1 {
		return fmt.Sprintf("%d of them", len(list))
	}
	return id(list[0])
}

func TestCallsShareAConnection(t *testing.T) {
	c, server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			answer(t, w, http.StatusNotFound, wire.Error{Code: "not_found", Message: "none"})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	var opened atomic.Int32
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	for range 5 {
		if err := c.Release(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), "x"); err == nil {
			t.Fatal("no error")
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestErrorAnswers(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   wire.Error
	}{
		"as agreed":   {503, `{"status":503,"code":"pool_empty","message":"none left"}`, wire.Error{Status: 503, Code: "pool_empty", Message: "none left"}},
		"no JSON":     {404, "404 page not found", wire.Error{Status: 404, Code: "internal", Message: `sandpoold answered 404 Not Found: "404 page not found"`}},
		"other JSON":  {500, `{"oops":1}`, wire.Error{Status: 500, Code: "internal", Message: `sandpoold answered 500 Internal Server Error: "{\"oops\":1}"`}},
		"no redirect": {304, "", wire.Error{Status: 304, Code: "internal", Message: `sandpoold answered 304 Not Modified: ""`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			server.Start()
			_, err := c.Info(t.Context())
			if got, ok := errors.AsType[*wire.Error](err); !ok || *got != test.want {
				t.Errorf("got %#v, want %+v", err, test.want)
			}
		})
	}
}

func TestBadReply(t *testing.T) {
	c, server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{")) }))
	server.Start()
	if _, err := c.Pools(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "read reply to GET /v1/pools: ") {
		t.Error(err)
	}
}

func TestHangUp(t *testing.T) {
	c, server := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	server.Start()
	if _, err := c.Claim(t.Context(), wire.ClaimRequest{}); err == nil || err.Error() != "POST /v1/claims: EOF" {
		t.Error(err)
	}
}

func TestContextEndsACall(t *testing.T) {
	called := make(chan struct{})
	c, server := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(called)
		<-r.Context().Done()
	}))
	server.Start()
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	go func() {
		<-called
		cancel(reason)
	}()
	if _, err := c.List(ctx); !errors.Is(err, reason) {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	missing, dead := filepath.Join(dir, "missing"), filepath.Join(dir, "dead")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	long := "/" + strings.Repeat("x", 199)
	tests := map[string]struct {
		socket string
		cause  error
		want   string
	}{
		"missing": {missing, os.ErrNotExist, "no sandpoold at " + missing + ": no such file or directory: is it running?"},
		"dead":    {dead, syscall.ECONNREFUSED, "no sandpoold at " + dead + ": connection refused: is it running?"},
		"long":    {long, syscall.EINVAL, "the path of the socket has 200 bytes, of at most 107: set another by --socket, SANDPOOL_SOCKET or daemon.socket: " + long},
	}
	for name, test := range tests {
		c := &Client{Socket: test.socket}
		_, called := c.Pools(t.Context())
		_, execed := c.Exec(t.Context(), "x", wire.ExecRequest{}, Stdio{})
		for _, err := range []error{called, execed} {
			if _, ok := errors.AsType[*UnreachableError](err); !ok || err.Error() != test.want || !errors.Is(err, test.cause) {
				t.Errorf("%s: %v\nwant %s", name, err, test.want)
			}
		}
	}
	forbidden := &UnreachableError{Socket: "/s", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)}}
	if want := "may not use /s: permission denied: only root and the socket's group may use it"; forbidden.Error() != want {
		t.Errorf("got %v\nwant %s", forbidden, want)
	}
	forbidden.Socket = dead
	if err := errors.Join(os.Chown(dead, -1, 1), os.Chmod(dead, 0o660)); err != nil {
		t.Fatal(err)
	}
	if want := "may not use " + dead + ": permission denied: join the group daemon (usermod -aG daemon USER) and log in again"; forbidden.Error() != want {
		t.Errorf("got %v\nwant %s", forbidden, want)
	}
}
