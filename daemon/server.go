package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 5 * time.Minute
	maxHeader     = 16 << 10 // bytes
	// stopGrace is how long a stop lets requests and exec streams finish by themselves before it cuts them off.
	stopGrace = 5 * time.Second
	// claimGrace is the same of claims, which wait for a sandbox meanwhile: the pools still fill.
	claimGrace = 30 * time.Second
	// cutGrace is how long those that were cut off may take to receive that as their answer.
	cutGrace = 2 * time.Second
)

// server is an http.Server whose stop waits for every handler, those included that took over their connection.
type server struct {
	http   *http.Server
	cut    context.CancelCauseFunc // ends the context of every request
	hurry  context.CancelCauseFunc // ends that of every request that is no claim
	under  gate
	served chan struct{} // closed when no more connections are taken
}

// newServer makes a server of h. It listens when serve is called.
func newServer(a *api) *server {
	base, cut := context.WithCancelCause(context.Background())
	others, hurry := context.WithCancelCause(context.Background())
	s := &server{cut: cut, hurry: hurry, served: make(chan struct{})}
	routes := a.routes()
	s.http = &http.Server{
		Handler: a.answer(func(w http.ResponseWriter, r *http.Request) error {
			if !s.under.enter() {
				return errStopping
			}
			defer s.under.leave()
			if r.Method != http.MethodPost || r.URL.Path != "/v1/claims" {
				ctx, cancel := context.WithCancelCause(r.Context())
				defer cancel(nil)
				defer context.AfterFunc(others, func() { cancel(context.Cause(others)) })()
				r = r.WithContext(ctx)
			}
			routes.ServeHTTP(w, r)
			return nil
		}),
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnContext:                  withActor,
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	return s
}

// serve answers requests until stop is called. Call it once.
func (s *server) serve(ln net.Listener) error {
	defer close(s.served)
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// stop takes no more connections, answers what came by those that there are, and returns when all requests have ended: by
// themselves within stopGrace, claims within claimGrace, else because they were cut off. Who connects meanwhile to a socket of
// the service manager's waits there for the next daemon.
func (s *server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), claimGrace)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.http.Shutdown(ctx) // fails when the grace is over, which is seen below
		<-s.served
		_ = s.http.Shutdown(ctx) // of the connection that was taken in the same moment
		<-s.under.close()
	}()
	select {
	case <-ended:
	case <-time.After(stopGrace):
	}
	s.hurry(errStopping)
	select {
	case <-ended:
	case <-ctx.Done():
	}
	s.cut(errStopping)
	select {
	case <-ended:
	case <-time.After(cutGrace):
	}
	_ = s.http.Close() // for clients that do not read their answer
	<-ended            // every other call that a request makes has a deadline of its own
}

// gate counts requests under way.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup // added to under mu only while not closed
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

// close lets nobody else enter. The channel is closed when all have left.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	left := make(chan struct{})
	go func() {
		defer close(left)
		g.inside.Wait()
	}()
	return left
}
