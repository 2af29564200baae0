package daemontest

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"

	"sandpool/daemon/wire"
)

// TestHalfClosedClaims claims by connections whose client says no more, also from a pool that is empty by then. The claims that were
// answered are those that exist.
func TestHalfClosedClaims(t *testing.T) {
	cfg := testConfig(t, 1, 3)
	d := start(t, cfg)
	awaitPool(t, d.Client)
	var answered, listed []string
	for range 3 {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: cfg.Daemon.Socket, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST /v1/claims HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		var c wire.Claim
		if err := json.NewDecoder(resp.Body).Decode(&c); err != nil || resp.StatusCode != http.StatusCreated {
			t.Errorf("%s, %v", resp.Status, err)
		}
		_, _ = resp.Body.Close(), conn.Close()
		answered = append(answered, c.ID)
		checkAlive(t, d.Client, c)
	}
	claims, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		listed = append(listed, c.ID)
	}
	slices.Sort(answered)
	if slices.Sort(listed); !slices.Equal(answered, listed) {
		t.Errorf("answered were %v, listed are %v", answered, listed)
	}
}
