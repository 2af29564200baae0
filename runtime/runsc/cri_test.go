package runsc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// TestContainerdReadsDropIn lets the real containerd import the drop-in and tell its whole configuration. The tests' build has no CRI
// plugin, which would move a table of version 2 to where version 3 has it.
func TestContainerdReadsDropIn(t *testing.T) {
	for _, version := range []int{2, 3} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			dir := t.TempDir()
			cri := CRI{Version: version, Dir: dir}
			dropIn, main := filepath.Join(dir, "conf.d", "gvisor.toml"), filepath.Join(dir, "config.toml")
			if err := os.Mkdir(filepath.Dir(dropIn), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := cri.Write(dropIn); err != nil {
				t.Fatal(err)
			}
			if err := CheckCRI(dropIn); err != nil {
				t.Error(err)
			}
			text := fmt.Sprintf("version = %d\nimports = [%q]\n", version, filepath.Join(dir, "conf.d", "*.toml"))
			if err := os.WriteFile(main, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(installed(t).Path), "containerd"), "--config", main, "config", "dump").Output()
			if err != nil {
				t.Fatal(err)
			}
			var dumped criFile
			if err := toml.Unmarshal(out, &dumped); err != nil {
				t.Fatal(err)
			}
			runtimes := dumped.Plugins[criPlugins[version]].Containerd.Runtimes
			for name, platform := range map[string]string{"runsc": "systrap", "runsc-kvm": "kvm"} {
				want := criRuntime{criShim, criOptions{ShimOptions, filepath.Join(dir, "runsc-"+platform+".toml")}}
				if got := runtimes[name]; !reflect.DeepEqual(got, want) {
					t.Errorf("containerd has %s as %+v, want %+v", name, got, want)
				}
				file, err := ReadShimFile(want.Options.ConfigPath)
				if err != nil || !reflect.DeepEqual(file, ShimFile{Flags: map[string]string{"platform": platform}}) {
					t.Errorf("shim's file of %s is %+v, %v", name, file, err)
				}
			}
		})
	}
}

func TestCheckCRI(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.toml")
	cri := CRI{Version: 3, Dir: dir}
	if err := cri.Write(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other.toml"), []byte("[runsc_config]\nplatform = 'ptrace'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"version = 3", "version = 1", "version 1: want 2 or 3"},
		{"version = 3", "version = 2", "has no effect in version 2"},
		{"runtimes.runsc-kvm", "runtimes.other", "runtimes.runsc-kvm: missing"},
		{"io.containerd.runsc.v1'", "io.containerd.runc.v2'", "runtimes.runsc.runtime_type: \"io.containerd.runc.v2\""},
		{"io.containerd.runsc.v1.options", "x", "runtimes.runsc.options.TypeUrl: \"x\""},
		{"runsc-systrap.toml", "none.toml", "runtimes.runsc.options.ConfigPath: read the shim's file"},
		{"runsc-systrap.toml", "other.toml", "platform is \"ptrace\": want \"systrap\""},
		{"version = 3", "version", "c.toml"},
	} {
		text := strings.ReplaceAll(string(good), c.from, c.to)
		if text == string(good) {
			t.Fatalf("no %q in\n%s", c.from, good)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := CheckCRI(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %q error is %v, want %q in it", c.to, err, c.want)
		}
	}
	if _, err := (CRI{Version: 4}).DropIn(); err == nil {
		t.Error("version 4 is written")
	}
}
