package main

import (
	"os"
	"strings"
	"testing"

	"sandpool/scripts/testhost"
)

var host *testhost.Host

func TestMain(m *testing.M) {
	os.Exit(testhost.Main(m, testhost.Options{Namespace: "sandpool-demo"}, &host))
}

// TestShell has a shell read a script: it finds everything set, and its exit code is passed on. A shell whose terminal is lost ends
// too. What they claimed goes with the daemon.
func TestShell(t *testing.T) {
	t.Setenv("SHELL", "/bin/bash")
	t.Setenv("SANDPOOL_SOCKET", "/nowhere")
	var out strings.Builder
	d, err := newDemo(host, &out)
	if err != nil {
		t.Fatal(err)
	}
	d.errOut = &out
	if err := d.startDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.in = strings.NewReader(`ID=$(sandpool claim) && sandpool exec $ID -- hostname && ctr tasks ls -q && sandpool ls; exit 3`)
	if code, err := d.openShell(t.Context()); err != nil || code != 3 {
		t.Errorf("the shell ended with %d, %v; it wrote\n%s", code, err, &out)
	}
	if text := out.String(); strings.Count(text, "sb-") < 3 || !strings.Contains(text, "running") {
		t.Errorf("the shell wrote\n%s", text)
	}
	d.in = strings.NewReader("kill -HUP $PPID; exec sleep 1000")
	if code, err := d.openShell(t.Context()); err == nil {
		t.Errorf("a shell without its terminal ended with %d", code)
	}
	if err := d.stopDaemon(t.Context()); err != nil {
		t.Error(err)
	}
}
