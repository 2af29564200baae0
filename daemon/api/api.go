// Package api serves the daemon's API on a unix socket: who calls, what is asked, and the answer.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"go.opentelemetry.io/otel/trace"

	"sandpool/configs"
	"sandpool/daemon/files"
	"sandpool/daemon/openapi"
	"sandpool/daemon/processes"
	"sandpool/daemon/telemetry"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/image"
)

// Claims is what the API needs of the pools; see pool.Controller for what its methods promise.
type Claims interface {
	Claim(ctx context.Context, req pool.Request) (claim pool.Claim, repeated bool, err error)
	Release(ctx context.Context, claim string) error
	Get(claim string) (pool.Claim, error)
	Claims() []pool.Claim
	Extend(ctx context.Context, claim string, by time.Duration) (pool.Claim, error)
	SetNetwork(ctx context.Context, claim string, change func(has string) (string, error)) (pool.Claim, error)
	Use(ctx context.Context, claim string) (claimed pool.Claim, done func(), err error)
}

// Keeper saves the sandboxes of claims. A save that finds no room returns ErrDiskFull or ErrNoRoom.
type Keeper interface {
	// Take saves a claim's sandbox, which runs on.
	Take(ctx context.Context, claim, trigger, comment string) (checkpoint.Manifest, error)
	// Retire saves a claim's sandbox and ends the claim.
	Retire(ctx context.Context, claim, comment string) (checkpoint.Manifest, error)
}

// Shelf is where the API finds checkpoints; see checkpoint.Store.
type Shelf interface {
	List() []checkpoint.Manifest
	Get(id string) (checkpoint.Manifest, error)
	Delete(id string) error
}

// Sizes is what the API needs to change pools; see pool.Controller for what its methods promise.
type Sizes interface {
	Resize(template string, change func(*pool.Size)) error
	Drain(template string) error
}

var (
	_ Claims = (*pool.Controller)(nil)
	_ Sizes  = (*pool.Controller)(nil)
	_ Shelf  = (*checkpoint.Store)(nil)
)

// Options are what the API is made of. All fields are required.
type Options struct {
	Claims    Claims
	Keeper    Keeper
	Shelf     Shelf
	Networks  Networks
	Events    EventLog
	Stopping  <-chan struct{} // closed when the daemon begins to stop: who follows events is not to keep it waiting
	Pools     func() []pool.Overview
	Sizes     Sizes
	Images    func(ctx context.Context) ([]image.Status, error)
	Catalogue Catalogue // is asked about templates
	Exec      func(ctx context.Context, sandbox string, spec runtime.ExecSpec) (processes.Process, error)
	Processes func(ctx context.Context, sandbox string) (runtime.Processes, error)
	// Port joins what spec reads and writes to a TCP port of a sandbox.
	Port     func(ctx context.Context, sandbox string, port int, spec runtime.ExecSpec) (processes.Process, error)
	Ready    func() error              // why the daemon cannot do its work, or nil
	Alive    func(sandbox string) bool // its processes have not ended
	Info     wire.Info                 // but for what changes
	Promised func() wire.Promised      // to sandboxes, at the last look
	Config   func() *configs.Config    // as it is now; not to be changed
	Metrics  *telemetry.Metrics
	Step     func(string) // told at every step after which a crash must lose nothing
	Tracer   trace.Tracer
	Log      *slog.Logger
}

// api answers HTTP requests.
type api struct {
	Options

	large   chan struct{} // has largeBodies slots, which requests with such a body hold while they are read
	crowd   *crowd
	watches files.Watches
	pace    time.Duration // in which paced.Least bytes of a file's content have to come

	detours processes.Detours
}

func newAPI(o Options) *api {
	return &api{Options: o, large: make(chan struct{}, largeBodies), crowd: newCrowd(o.Config, o.Metrics.Refused), pace: bodyTimeout}
}

// handler answers a request, or returns the error to answer with.
type handler func(w http.ResponseWriter, r *http.Request) error

// routes returns the handler of the whole API. Every failure has the one shape of wire.Error.
func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, route := range slices.Concat(a.claimRoutes(), a.otherRoutes()) {
		mux.Handle(route.method+" "+route.path, a.answer(route.handler))
		methods[route.path] = append(methods[route.path], route.method)
	}
	for path, allowed := range methods {
		mux.Handle(path, a.answer(wrongMethod(allowed)))
	}
	mux.Handle("/", a.answer(unknownPath))
	return a.answer(func(w http.ResponseWriter, r *http.Request) error { return admit(mux, w, telemetry.Traced(r)) })
}

// route is what answers one method of one path.
type route struct {
	method, path string
	handler      handler
}

func (a *api) claimRoutes() []route {
	return []route{
		{http.MethodPost, "/v1/claims", a.claim},
		{http.MethodGet, "/v1/claims", a.listClaims},
		{http.MethodGet, "/v1/claims/{id}", a.getClaim},
		{http.MethodDelete, "/v1/claims/{id}", a.releaseClaim},
		{http.MethodPost, "/v1/claims/{id}/exec", a.execInClaim},
		{http.MethodPost, "/v1/claims/{id}/ports/{port}", a.connectPort},
		{http.MethodPost, "/v1/claims/{id}/processes", a.startProcess},
		{http.MethodGet, "/v1/claims/{id}/processes", a.inside(a.listProcesses)},
		{http.MethodGet, "/v1/claims/{id}/processes/{pid}", a.inside(a.getProcess)},
		{http.MethodGet, "/v1/claims/{id}/processes/{pid}/output", a.inside(a.processOutput)},
		{http.MethodPost, "/v1/claims/{id}/processes/{pid}/attach", a.inside(a.attachProcess)},
		{http.MethodPost, "/v1/claims/{id}/processes/{pid}/input", a.inside(a.feedProcess)},
		{http.MethodPost, "/v1/claims/{id}/processes/{pid}/resize", a.inside(a.resizeProcess)},
		{http.MethodPost, "/v1/claims/{id}/processes/{pid}/signal", a.inside(a.signalProcess)},
		{http.MethodPost, "/v1/claims/{id}/extend", a.extendClaim},
		{http.MethodPost, "/v1/claims/{id}/checkpoint", a.checkpointClaim},
		{http.MethodPost, "/v1/claims/{id}/fork", a.forkClaim},
		{http.MethodGet, "/v1/claims/{id}/files", a.withFiles("read", files.ServeContent, "path")},
		{http.MethodPut, "/v1/claims/{id}/files", a.withFiles("write", a.receiveFile, "path", "mode", "mtime", "append", "offset", "in_place")},
		{http.MethodDelete, "/v1/claims/{id}/files", a.withFiles("remove", removeFile, "path", "recursive")},
		{http.MethodGet, "/v1/claims/{id}/files/list", a.withFiles("list", files.ServeList, "path", "depth")},
		{http.MethodGet, "/v1/claims/{id}/files/stat", a.withFiles("stat", tellFile, "path", "follow")},
		{http.MethodGet, "/v1/claims/{id}/files/watch", a.withFiles("watch", a.watches.Serve, "path", "recursive", "after")},
		{http.MethodPost, "/v1/claims/{id}/files/mkdir", a.withFiles("mkdir", tellFile, "path", "mode", "parents")},
		{http.MethodPost, "/v1/claims/{id}/files/move", a.withFiles("move", tellFile, "path", "to")},
		{http.MethodPost, "/v1/claims/{id}/files/chmod", a.withFiles("chmod", tellFile, "path", "mode")},
		{http.MethodPost, "/v1/claims/{id}/files/chown", a.withFiles("chown", tellFile, "path", "owner")},
		{http.MethodGet, "/v1/claims/{id}/tar", a.withFiles("pack", files.ServeTar, "path", "as", "follow")},
		{http.MethodPut, "/v1/claims/{id}/tar", a.withFiles("unpack", a.receiveFile, "path", "owners")},
		{http.MethodGet, "/v1/claims/{id}/network", a.showNetwork},
		{http.MethodPut, "/v1/claims/{id}/network", a.changeNetwork},
		{http.MethodPut, "/v1/claims/{id}/network/secrets", a.bindSecrets},
		{http.MethodGet, "/v1/claims/{id}/network/why", a.whyNetwork},
		{http.MethodGet, "/v1/claims/{id}/network/log", a.networkLog},
	}
}

func (a *api) otherRoutes() []route {
	return []route{
		{http.MethodGet, "/v1/checkpoints", a.listCheckpoints},
		{http.MethodGet, "/v1/checkpoints/{id}", a.getCheckpoint},
		{http.MethodDelete, "/v1/checkpoints/{id}", a.deleteCheckpoint},
		{http.MethodGet, "/v1/events", a.listEvents},
		{http.MethodGet, "/v1/pools", a.listPools},
		{http.MethodPut, "/v1/pools/{name}", a.changePool},
		{http.MethodPost, "/v1/pools/{name}/drain", a.drainPool},
		{http.MethodGet, "/v1/templates", a.listTemplates},
		{http.MethodPost, "/v1/templates/{name}/check", a.checkTemplate},
		{http.MethodGet, "/v1/images", a.listImages},
		{http.MethodGet, "/v1/info", a.getInfo},
		{http.MethodGet, "/v1/openapi.json", openapi.Serve},
		{http.MethodGet, "/healthz", a.getHealth},
		{http.MethodGet, "/readyz", a.getReady},
		{http.MethodGet, "/metrics", a.getMetrics},
	}
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
