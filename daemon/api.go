package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"go.opentelemetry.io/otel/trace"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/image"
)

// claims is what the API needs of the pools; see pool.Controller for what its methods promise.
type claims interface {
	Claim(ctx context.Context, req pool.Request) (claim pool.Claim, repeated bool, err error)
	Release(ctx context.Context, claim string) error
	Get(claim string) (pool.Claim, error)
	Claims() []pool.Claim
	Extend(ctx context.Context, claim string) (pool.Claim, error)
	Use(ctx context.Context, claim string) (claimed pool.Claim, done func(), err error)
}

// keeper is what the API needs of the checkpoints.
type keeper interface {
	take(ctx context.Context, claim, trigger, comment string) (checkpoint.Manifest, error)
	retire(ctx context.Context, claim, comment string) (checkpoint.Manifest, error)
}

// shelf is where the API finds checkpoints; see checkpoint.Store.
type shelf interface {
	List() []checkpoint.Manifest
	Get(id string) (checkpoint.Manifest, error)
	Delete(id string) error
}

// sizes is what the API needs to change pools; see pool.Controller for what its methods promise.
type sizes interface {
	Resize(template string, change func(*pool.Size)) error
	Drain(template string) error
}

var (
	_ claims = (*pool.Controller)(nil)
	_ sizes  = (*pool.Controller)(nil)
	_ keeper = (*checkpoints)(nil)
	_ shelf  = (*checkpoint.Store)(nil)

	_ catalogue = templateCatalogue{}
)

// process is a command that runs in a sandbox; see runtime.Process.
type process interface {
	Resize(ctx context.Context, rows, cols uint16) error
	Signal(ctx context.Context, signal syscall.Signal) error
	Wait(ctx context.Context) (code int, err error)
}

var _ process = (*runtime.Process)(nil)

// api answers HTTP requests. All fields are required.
type api struct {
	claims claims
	keeper keeper
	shelf  shelf
	feed   feed
	pools  func() []pool.Overview
	sizes  sizes
	images func(ctx context.Context) ([]image.Status, error)
	// catalogue is asked about templates.
	catalogue catalogue
	exec      func(ctx context.Context, sandbox string, spec runtime.ExecSpec) (process, error)
	ready     func() error              // why the daemon cannot do its work, or nil
	large     chan struct{}             // has largeBodies slots, which requests with such a body hold while they are read
	alive     func(sandbox string) bool // its processes have not ended
	info      wire.Info                 // but for what changes
	promised  func() wire.Promised      // to sandboxes, at the last look
	config    func() *configs.Config    // as it is now; not to be changed
	crowd     *crowd
	metrics   *metrics
	tracer    trace.Tracer
	log       *slog.Logger
}

// handler answers a request, or returns the error to answer with.
type handler func(w http.ResponseWriter, r *http.Request) error

// routes returns the handler of the whole API. Every failure has the one shape of wire.Error.
func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, route := range []struct {
		method, path string
		handler      handler
	}{
		{http.MethodPost, "/v1/claims", a.claim},
		{http.MethodGet, "/v1/claims", a.listClaims},
		{http.MethodGet, "/v1/claims/{id}", a.getClaim},
		{http.MethodDelete, "/v1/claims/{id}", a.releaseClaim},
		{http.MethodPost, "/v1/claims/{id}/exec", a.execInClaim},
		{http.MethodPost, "/v1/claims/{id}/extend", a.extendClaim},
		{http.MethodPost, "/v1/claims/{id}/checkpoint", a.checkpointClaim},
		{http.MethodPost, "/v1/claims/{id}/fork", a.forkClaim},
		{http.MethodGet, "/v1/checkpoints", a.listCheckpoints},
		{http.MethodGet, "/v1/checkpoints/{id}", a.getCheckpoint},
		{http.MethodDelete, "/v1/checkpoints/{id}", a.deleteCheckpoint},
		{http.MethodGet, "/v1/events", a.events},
		{http.MethodGet, "/v1/pools", a.listPools},
		{http.MethodPut, "/v1/pools/{name}", a.changePool},
		{http.MethodPost, "/v1/pools/{name}/drain", a.drainPool},
		{http.MethodGet, "/v1/templates", a.listTemplates},
		{http.MethodPost, "/v1/templates/{name}/check", a.checkTemplate},
		{http.MethodGet, "/v1/images", a.listImages},
		{http.MethodGet, "/v1/info", a.getInfo},
		{http.MethodGet, "/healthz", a.getHealth},
		{http.MethodGet, "/readyz", a.getReady},
		{http.MethodGet, "/metrics", a.getMetrics},
	} {
		mux.Handle(route.method+" "+route.path, a.answer(route.handler))
		methods[route.path] = append(methods[route.path], route.method)
	}
	for path, allowed := range methods {
		mux.Handle(path, a.answer(wrongMethod(allowed)))
	}
	mux.Handle("/", a.answer(unknownPath))
	return a.answer(func(w http.ResponseWriter, r *http.Request) error { return admit(mux, w, traced(r)) })
}

// answer makes an http.Handler of h.
func (a *api) answer(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

// admit lets next answer requests of known local programs.
func admit(next http.Handler, w http.ResponseWriter, r *http.Request) error {
	if _, known := actorOf(r.Context()); !known {
		return errUnknownActor
	}
	for _, name := range []string{"Origin", "Referer"} {
		if r.Header.Get(name) != "" {
			return errdefs.ErrPermissionDenied.WithMessage("requests with the header " + name + " are refused: browsers have no business here")
		}
	}
	if r.URL.Path != path.Clean(r.URL.Path) || r.URL.Path == "*" {
		return unknownPath(w, r) // the mux would answer in a shape of its own
	}
	next.ServeHTTP(w, r)
	return nil
}

func wrongMethod(allowed []string) handler {
	list := strings.Join(slices.Sorted(slices.Values(allowed)), ", ")
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Allow", list)
		return fmt.Errorf("%w: %s: want %s", errMethod, r.Method, list)
	}
}

func unknownPath(_ http.ResponseWriter, r *http.Request) error {
	return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no such path: %q", r.URL.Path))
}
