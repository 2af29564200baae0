package runsc

import (
	"strings"
	"testing"
)

func TestAutoMeansKVMOnlyOnBareMetal(t *testing.T) {
	for _, test := range []struct {
		configured []string
		virtual    bool
		want       string
	}{
		{[]string{"auto"}, false, "kvm systrap ptrace"},
		{[]string{"auto"}, true, "systrap ptrace"},
		{[]string{"kvm", "systrap"}, true, "kvm systrap"},
		{[]string{"systrap"}, false, "systrap"},
	} {
		if got := strings.Join(candidatesFor(test.configured, test.virtual), " "); got != test.want {
			t.Errorf("%v, virtual %v: %q, want %q", test.configured, test.virtual, got, test.want)
		}
	}
}

func TestShimName(t *testing.T) {
	for runtime, want := range map[string]string{"io.containerd.runsc.v1": "containerd-shim-runsc-v1", "a.b": "containerd-shim-a-b", "runsc": "runsc"} {
		if got := shimName(runtime); got != want {
			t.Errorf("%s: %q, want %q", runtime, got, want)
		}
	}
}
