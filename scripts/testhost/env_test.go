package testhost

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// callers is what a caller may have exported, among it what the demo prints.
var callers = map[string]string{
	"SANDPOOL_SOCKET": "/s", "CONTAINERD_ADDRESS": "/c", "CONTAINERD_NAMESPACE": "n", "NOTIFY_SOCKET": "/n", "LISTEN_FDS": "1", "LISTEN_PID": "1",
	"INVOCATION_ID": "i", "JOURNAL_STREAM": "1:1", "WATCHDOG_USEC": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1",
	"NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "tr_TR", "XDG_RUNTIME_DIR": "/x", "MAKEFLAGS": "-n", "DESTDIR": "/d", "PREFIX": "/p",
	"LANG": "tr_TR", "TZ": "Asia/Kathmandu",
}

func TestClearEnv(t *testing.T) {
	before := os.Environ()
	t.Cleanup(func() {
		os.Clearenv()
		for _, entry := range before {
			name, value, _ := strings.Cut(entry, "=")
			_ = os.Setenv(name, value) //nolint:usetesting // what it restores was there before
		}
	})
	for name, value := range callers {
		t.Setenv(name, value)
	}
	t.Setenv("XDG_CACHE_HOME", "/cache")
	t.Setenv("XDG_CONFIG_HOME", "/config")
	t.Setenv("GOCACHE", "")
	_ = os.Unsetenv("GOCACHE")
	t.Setenv("GOENV", "/own")
	t.Setenv("SANDPOOL_STACK", "/stack")
	t.Setenv("TMPDIR", strings.Repeat("/long", 20))
	path := os.Getenv("PATH")
	ClearEnv()
	want := map[string]string{
		"LANG": "C.UTF-8", "TZ": "UTC", "GOCACHE": "/cache/go-build", "GOENV": "/own", "SANDPOOL_STACK": "/stack", "PATH": path, "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "TMPDIR": "",
	}
	for _, name := range slices.Sorted(maps.Keys(callers)) {
		if got := os.Getenv(name); got != want[name] {
			t.Errorf("%s is %q", name, got)
		}
	}
	for name, value := range want {
		if got := os.Getenv(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}
