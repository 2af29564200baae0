package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// metricsConnections is how many connections the address of the metrics takes at a time. The socket answers whatever happens there.
	metricsConnections = 32
	// scrapeTimeout is how long a client may take to ask, to receive its answer, and to ask again.
	scrapeTimeout = 10 * time.Second
	// maxHeader bounds the headers of a request, in bytes.
	maxHeader = 16 << 10
)

// Serve serves the metrics, and nothing else, on a TCP address until stop is called. Without an address it does nothing. Nobody
// knows who asks there, so exemplars are shown only if that is wanted.
func (m *Metrics) Serve(ctx context.Context, address string, exemplars bool, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w: set daemon.metrics_address", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler(exemplars))
	s := &http.Server{ // any user of the host can connect
		Handler: mux, ReadTimeout: scrapeTimeout, WriteTimeout: scrapeTimeout, IdleTimeout: scrapeTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(&fewListener{Listener: ln, slots: make(chan struct{}, metricsConnections)}); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are served no more", "err", err)
		}
	}()
	log.Info("metrics are served", "address", ln.Addr().String())
	return func() {
		_ = s.Close()
		<-ended
	}, nil
}

// fewListener takes as many connections at a time as it has slots, and closes others at once.
type fewListener struct {
	net.Listener

	slots chan struct{}
}

// fewConn gives its slot back when it is closed.
type fewConn struct {
	net.Conn

	leave func()
}

func (l *fewListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &fewConn{conn, sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			_ = conn.Close()
		}
	}
}

func (c *fewConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
