package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"sandpool/lifetime/wait"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 5 * time.Minute
	maxHeader     = 16 << 10 // bytes
	// streamGrace is how long a stop lets exec streams finish by themselves before it cuts them off.
	streamGrace = 5 * time.Second
	// StopGrace is the same of all other requests. Claims wait for a sandbox meanwhile: the pools still fill.
	StopGrace = 30 * time.Second
	// closeIdleEvery is how often a stop looks for connections without a request.
	closeIdleEvery = 100 * time.Millisecond
	// cutGrace is how long those that were cut off may take to receive that as their answer.
	cutGrace = 2 * time.Second
)

// Server is an http.Server whose stop waits for every handler, those included that took over their connection.
type Server struct {
	http  *http.Server
	cut   context.CancelCauseFunc // ends the context of every request
	hurry context.CancelCauseFunc // ends that of every stream
	grace time.Duration           // StopGrace
	body  time.Duration           // bodyTimeout
	write time.Duration           // writeTimeout
	under gate
	room  *connections
	after func()         // ends what goes on without a request
	conns sync.WaitGroup // connections; none is added once served is closed

	stopping context.Context // ends when no more connections are to be taken
	quit     context.CancelFunc
	served   chan struct{} // closed when no more connections are taken
}

// New makes a server of the API. It listens when Serve is called.
func New(o Options) *Server { return newServer(newAPI(o)) }

func newServer(a *api) *Server {
	base, cut := context.WithCancelCause(context.Background())
	streams, hurry := context.WithCancelCause(context.Background())
	stopping, quit := context.WithCancel(context.Background())
	s := &Server{stopping: stopping, quit: quit, cut: cut, hurry: hurry, grace: StopGrace, body: bodyTimeout, write: writeTimeout, served: make(chan struct{}), room: newConnections(a.crowd.connections), after: a.watches.Close}
	if most, room := a.Config().Limits.Connections, roomForConnections(); most > room {
		a.Log.Warn("fewer connections are taken than limits.connections says", "connections", room, "configured", most)
	}
	routes := a.routes()
	s.http = &http.Server{
		Handler: a.answer(func(w http.ResponseWriter, r *http.Request) error {
			takeOver(r)
			if len(r.TransferEncoding) > 0 { // a Content-Length beside it, which net/http drops, may say otherwise where the request ends
				w.Header().Set("Connection", "close")
			}
			if !s.under.enter() {
				return errStopping
			}
			defer s.under.leave()
			if err := limitBody(w, r, s.body); err != nil {
				return err
			}
			end := base
			if isStream(r) {
				end = streams
			}
			r, done := heed(end, r)
			defer done()
			routes.ServeHTTP(w, r)
			return nil
		}),
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnContext:                  withConn,
		ConnState:                    s.count,
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(a.Log.Handler(), slog.LevelWarn),
	}
	return s
}

// isStream tells whether a request may go on for as long as its client likes.
func isStream(r *http.Request) bool {
	_, last := path.Split(r.URL.Path)
	return r.URL.Path == "/v1/events" || isExec(r) || last == "files" || last == "tar" || last == "watch"
}

func isExec(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/exec") }

// Serve answers requests until stop is called. Call it once.
func (s *Server) Serve(ln net.Listener) error {
	defer close(s.served)
	defer context.AfterFunc(s.stopping, func() { _ = ln.Close() })()
	if err := s.http.Serve(refusingListener{ln, s.room, s.write}); context.Cause(s.stopping) == nil {
		return err
	}
	return nil
}

// count keeps the number of connections that are to be waited for, and notes where an answer is complete.
func (s *Server) count(conn net.Conn, state http.ConnState) {
	refusing := conn.(*refusingConn) // as serve has them
	s.room.rests(refusing, state == http.StateIdle)
	switch state {
	case http.StateIdle:
		refusing.answering.Store(false)
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked: // the latter's handlers are waited for
		s.conns.Done()
	}
}

// Stop takes no more connections, answers what comes by those that there are, and returns when all requests have ended: by
// themselves within their grace, streams within streamGrace, else because they were cut off. Who connects meanwhile to a socket
// of the service manager's waits there for the next daemon.
//
// http.Server.Shutdown would drop a request that it has not read yet.
func (s *Server) Stop() {
	defer s.after()
	ctx, cancel := context.WithTimeout(context.Background(), s.grace)
	defer cancel()
	ended := make(chan struct{})
	s.quit()
	go func() {
		defer close(ended)
		<-s.served
		s.http.SetKeepAlivesEnabled(false) // which closes idle connections, but not one that becomes so in the same moment
		closing, closed := context.WithCancel(ctx)
		var closer sync.WaitGroup
		defer closer.Wait()
		defer closed()
		closer.Go(func() { s.closeIdle(closing) })
		s.room.away.Wait()
		s.conns.Wait() // one that sends nothing ends after headerTimeout
		<-s.under.close()
	}()
	select {
	case <-ended:
	case <-time.After(streamGrace):
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

// closeIdle closes connections without a request until ctx ends.
func (s *Server) closeIdle(ctx context.Context) {
	wait.Every(ctx, closeIdleEvery, func() { s.http.SetKeepAlivesEnabled(false) })
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
