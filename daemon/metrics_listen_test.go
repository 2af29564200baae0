package daemon

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

// get returns the status and the body of an answer.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestMetricsAddressServesMetricsOnly(t *testing.T) {
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(&said, nil))
	m := observed()
	stop, err := m.serveMetrics(t.Context(), "127.0.0.1:0", log)
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(strings.TrimSpace(said.String()), "address=")
	if status, body := get(t, "http://"+address+"/metrics"); status != http.StatusOK || !strings.Contains(body, "sandbox_containerd_up 1\n") {
		t.Errorf("/metrics: %d %s", status, body)
	}
	if status, _ := get(t, "http://"+address+"/v1/claims"); status != http.StatusNotFound {
		t.Errorf("/v1/claims: %d, want none of the API there", status)
	}
	if _, err := m.serveMetrics(t.Context(), address, log); err == nil || !strings.Contains(err.Error(), "set daemon.metrics_address") {
		t.Errorf("serve on an address in use: %v", err)
	}
	stop()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("the address is not free after the stop: %v", err)
	}
	_ = ln.Close()
}
