package daemontest

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"sandpool/scripts/testhost"
)

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// wantSample scrapes the address and looks for a line.
func wantSample(t *testing.T, address, line string) {
	t.Helper()
	if !strings.Contains(scrape(t, address), "\n"+line+"\n") {
		t.Errorf("the metrics lack %q", line)
	}
}

// scrape returns the metrics, each line after the end of another.
func scrape(t *testing.T, address string) string {
	t.Helper()
	status, body, err := testhost.Get(t.Context(), "http://"+address+"/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("scrape: %d %s, %v", status, body, err)
	}
	return "\n" + body
}
