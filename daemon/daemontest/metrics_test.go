package daemontest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/scripts/testhost"
)

// freeAddress returns a loopback address that nobody listens on. Until the test's end the kernel gives its port to nobody who asks for
// any: a socket holds it that does not listen, beside which one that asks for this port can.
func freeAddress(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	loopback := [4]byte{127, 0, 0, 1}
	bindErr := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback})
	// After the bind: a port of a socket that shares its own might be given to two tests at once.
	reuseErr := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	bound, err := unix.Getsockname(fd)
	if err = errors.Join(bindErr, reuseErr, err); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", bound.(*unix.SockaddrInet4).Port)
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
