package testhost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var host *Host

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		os.Exit(Main(victim{}, Options{Namespace: "sandpool-victim"}, &host))
	}
	os.Exit(Main(m, Options{Namespace: "sandpool-testhost"}, &host))
}

func TestVersion(t *testing.T) {
	out := ctr(t, host, "version")
	if !strings.Contains(out, "Server:") {
		t.Fatalf("ctr version: %s", out)
	}
}

func TestRestart(t *testing.T) {
	before := host.Pid()
	if err := host.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := host.Pid(); after == 0 || after == before {
		t.Fatalf("pid %d after restart of %d", after, before)
	}
	checkEmpty(t, host)
}

func TestStartContainerdTwice(t *testing.T) {
	if err := host.StartContainerd(t.Context()); err == nil {
		t.Fatal("a second containerd started in one folder")
	}
}

func TestNamespaceNames(t *testing.T) {
	for _, name := range []string{"..", "a/b", "-a", "a..b"} {
		if _, err := newHost(Options{Namespace: name}); err == nil {
			t.Errorf("namespace %q was accepted", name)
		}
	}
}

func TestMissingStack(t *testing.T) {
	t.Setenv("SANDPOOL_STACK", t.TempDir())
	_, err := newHost(Options{})
	if err == nil || !strings.Contains(err.Error(), "make stack") {
		t.Fatalf("error %v, want one that says what builds the stack", err)
	}
}

// A data race in a daemon that was killed, or that went on, must not pass unseen.
func TestRacesAreErrors(t *testing.T) {
	const report = "WARNING: DATA RACE\nWrite at 0x1 by goroutine 7:\n  main.racy()"
	for text, raced := range map[string]bool{"started\n==================\n" + report + "\n==================\nstopped\n": true, report: true, "started\n": false} {
		h := &Host{Dir: t.TempDir(), Namespace: "sandpool-races"}
		if err := os.WriteFile(filepath.Join(h.Dir, "sandpoold.log"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := h.Close()
		if raced != (err != nil && strings.Contains(err.Error(), report) && !strings.Contains(err.Error(), "stopped")) {
			t.Errorf("a log of %q: error %v", text, err)
		}
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]bool{
		"containerd --config /tmp/sph-1/containerd.toml": true,
		"-address unix:///tmp/sph-1":                     true,
		"containerd --config /tmp/sph-12/a /tmp/sph-1/a": true,
		"containerd --config /tmp/sph-12/containerd":     false,
		"": false,
	} {
		if got := names(text, "/tmp/sph-1"); got != want {
			t.Errorf("names(%q) = %t", text, got)
		}
	}
	if got := processesOf(""); got != nil {
		t.Errorf("processes of no host: %v", got)
	}
}
