package runtime

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

func TestOldContainerdIsRefused(t *testing.T) {
	for version, refused := range map[string]bool{"v2.4.2": false, "2.0.0": false, "1.6.20~ds1": true, "v1.7.27": true, "": false} {
		if err := checkContainerd(version); (err != nil) != refused {
			t.Errorf("containerd %s: %v", version, err)
		}
	}
}
