package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandpool/runtime/resource"
	"sandpool/scripts/testhost"
)

// Two containerds of one machine with the same namespace share its folders of cgroups: neither engine takes the other's
// sandboxes for left-overs, when it starts and when it sweeps.
func TestTwoContainerds(t *testing.T) {
	first := openEngine(t, testConfig(t))
	id := startSandbox(t, first)
	if groups, err := resource.Cgroups(host.Namespace, id); err != nil || len(groups) == 0 {
		t.Fatalf("cgroups %q, %v: without any the test proves nothing", groups, err)
	}
	other, err := testhost.Start(t.Context(), testhost.Options{Namespace: host.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := testConfig(t)
	cfg.Address, cfg.StateDir = other.Address, filepath.Join(other.Dir, "e")
	second := openEngine(t, cfg)
	theirs := startSandbox(t, second)
	if err := first.Sweep(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	for e, id := range map[*Engine]string{first: id, second: theirs} {
		if status := statusOf(t, e, id); status != Running {
			t.Errorf("sandbox %s is %q, want it running", id, status)
		}
		if code, out := run(t, e, id, "", "hostname"); code != 0 || out != id+"\n" {
			t.Errorf("exit code %d, %q; want %s", code, out, id)
		}
	}
}

// One namespace of one containerd is for one engine, whatever its state folder is.
func TestNamespaceIsForOneEngine(t *testing.T) {
	first, err := Open(t.Context(), testConfig(t), testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	holder := fmt.Sprintf("another sandpoold (process %d)", os.Getpid())
	if _, err := Open(t.Context(), testConfig(t), testLog(t)); err == nil || !strings.Contains(err.Error(), holder) || !strings.Contains(err.Error(), "set containerd.namespace") {
		t.Errorf("second engine: %v; want an error with %q", err, holder)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(host.Address + ".sandpool*"); err != nil || len(left) > 0 {
		t.Errorf("locks are left: %q, %v", left, err)
	}
	openEngine(t, testConfig(t))
}
