package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
)

// serveMetrics serves the metrics, and nothing else, on a TCP address until stop is called. Without an address it does nothing. Nobody
// knows who asks there, so exemplars are shown only if that is wanted.
func (m *metrics) serveMetrics(ctx context.Context, address string, exemplars bool, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w: set daemon.metrics_address", err)
	}
	mux := http.NewServeMux()
	handler := m.plain
	if exemplars {
		handler = m.handler
	}
	mux.Handle("GET /metrics", handler)
	s := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are served no more", "err", err)
		}
	}()
	log.Info("metrics are served", "address", ln.Addr().String())
	return func() {
		_ = s.Close()
		<-ended
	}, nil
}
