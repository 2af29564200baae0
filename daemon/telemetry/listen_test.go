package telemetry

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sandpool/scripts/testhost"
)

// TestExemplarsOnTheMetricsAddress has any user of the host see ids of claims only if that is configured.
func TestExemplarsOnTheMetricsAddress(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		var said strings.Builder
		stop, err := observed().Serve(t.Context(), "127.0.0.1:0", wanted, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		_, address, _ := strings.Cut(strings.TrimSpace(said.String()), "address=")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || strings.Contains(string(body), `claim="c-1"`) != wanted {
			t.Errorf("wanted: %t; %v: %s", wanted, err, body)
		}
		_ = resp.Body.Close()
		stop()
	}
}

func TestMetricsAddressServesMetricsOnly(t *testing.T) {
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(&said, nil))
	m := observed()
	stop, err := m.Serve(t.Context(), "127.0.0.1:0", false, log)
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(strings.TrimSpace(said.String()), "address=")
	if status, body, err := testhost.Get(t.Context(), "http://"+address+"/metrics"); err != nil || status != http.StatusOK || !strings.Contains(body, "sandbox_containerd_up 1\n") {
		t.Errorf("/metrics: %d %s, %v", status, body, err)
	}
	if status, _, err := testhost.Get(t.Context(), "http://"+address+"/v1/claims"); err != nil || status != http.StatusNotFound {
		t.Errorf("/v1/claims: %d, %v, want none of the API there", status, err)
	}
	if _, err := m.Serve(t.Context(), address, false, log); err == nil || !strings.Contains(err.Error(), "set daemon.metrics_address") {
		t.Errorf("serve on an address in use: %v", err)
	}
	conns := []net.Conn{}
	for range metricsConnections + 1 { // of any user of the host, and silent
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		conns = append(conns, conn)
	}
	last := conns[metricsConnections]
	if err := last.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(last, "GET /metrics HTTP/1.1\r\nHost: s\r\n\r\n") // which it may be too late for
	if n, err := last.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one connection too many got %d bytes and %v, want its end", n, err)
	}
	stop()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("the address is not free after the stop: %v", err)
	}
	_ = ln.Close()
}
