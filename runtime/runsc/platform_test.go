package runsc

import (
	"os"
	"os/exec"
	"path/filepath"
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

// TestFindShim looks for shims in the PATH of another process.
func TestFindShim(t *testing.T) {
	for name, c := range map[string]struct {
		programs []string
		shim     string
		want     string
		found    bool
	}{
		"the own one first":     {[]string{"containerd-shim-sandpool-v1", "containerd-shim-runsc-v1"}, AutoShim, "io.containerd.sandpool.v1", true},
		"or else gVisor's":      {[]string{"containerd-shim-runsc-v1"}, AutoShim, "io.containerd.runsc.v1", true},
		"or none":               {nil, AutoShim, "io.containerd.runsc.v1", false},
		"one that is named":     {[]string{"containerd-shim-sandpool-v1", "containerd-shim-runsc-v1"}, "io.containerd.runsc.v1", "io.containerd.runsc.v1", true},
		"one that is not there": {[]string{"containerd-shim-runsc-v1"}, "io.containerd.sandpool.v1", "io.containerd.sandpool.v1", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, program := range c.programs {
				if err := os.WriteFile(filepath.Join(dir, program), nil, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			containerd := exec.CommandContext(t.Context(), "/bin/cat")
			containerd.Env = []string{"PATH=" + dir}
			hold, err := containerd.StdinPipe()
			if err == nil {
				err = containerd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			shim, err := FindShim(c.shim, containerd.Process.Pid)
			if shim != c.want || (err == nil) != c.found {
				t.Errorf("it is %q, %v; want %q, found %v", shim, err, c.want, c.found)
			}
			_ = hold.Close()
			if err := containerd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
