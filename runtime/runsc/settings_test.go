package runsc

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandpool/scripts/testhost"
)

// installed is the runsc that the tests are run with.
func installed(t *testing.T) Program {
	t.Helper()
	host, err := testhost.Find()
	if err != nil {
		t.Fatal(err)
	}
	program, err := Find(t.Context(), host.Runsc)
	if err == nil {
		err = program.ReadFlags(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func TestTranslate(t *testing.T) {
	program := installed(t)
	tests := []struct {
		name, value string
		want        map[string]string
		warning     string
		fault       string
	}{
		{"network", "none", map[string]string{"network": "none"}, "", ""},
		{"overlay2", "root:memory,size=1g", map[string]string{"overlay2": "root:memory,size=1g"}, "", ""},
		{"overlay", "true", map[string]string{"overlay2": "all:memory"}, `use overlay2 = "all:memory"`, ""},
		{"overlay", "false", map[string]string{"overlay2": "none"}, `use overlay2 = "none"`, ""},
		{"overlay", "maybe", nil, "", "use overlay2"},
		{"fsgofer-host-uds", "true", map[string]string{"host-uds": "all"}, `use host-uds = "all"`, ""},
		{"vfs2", "true", nil, "no effect", ""},
		{"fuse", "true", nil, "no effect", ""},
		{"platform", "kvm", nil, "", "set runsc.platform"},
		{"root", "/x", nil, "", "state_dir"},
		{"num-netwrk-channels", "4", nil, "", "no such flag"},
	}
	for _, test := range tests {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			got, warnings, err := translate(map[string]Setting{test.name: {Value: test.value, Pos: "sandpoold.toml:7"}}, program.Flags)
			values := map[string]string{}
			for name, s := range got {
				values[name] = s.Value
			}
			if !maps.Equal(values, test.want) {
				t.Errorf("settings %v, want %v", values, test.want)
			}
			expectMessage(t, strings.Join(warnings, "\n"), test.warning, test.name)
			message := ""
			if err != nil {
				message = err.Error()
			}
			expectMessage(t, message, test.fault, test.name)
		})
	}
}

// expectMessage wants a message with the place, the key and part in it, or none when part is empty.
func expectMessage(t *testing.T, got, part, name string) {
	t.Helper()
	if part == "" {
		if got != "" {
			t.Errorf("unexpected message %q", got)
		}
		return
	}
	for _, want := range []string{"sandpoold.toml:7: runsc.flags." + name, part} {
		if !strings.Contains(got, want) {
			t.Errorf("message %q lacks %q", got, want)
		}
	}
}

func TestTranslateReportsAllFaults(t *testing.T) {
	_, _, err := translate(map[string]Setting{"a-flag": {Pos: "f:1"}, "b-flag": {Pos: "f:2"}, "overlay": {Value: "true", Pos: "f:3"}, "overlay2": {Value: "none", Pos: "f:4"}},
		map[string]string{"overlay": "", "overlay2": ""})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"f:1: runsc.flags.a-flag", "f:2: runsc.flags.b-flag", "f:3: runsc.flags.overlay: overlay2 is set too"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestValuesAreCheckedByRunsc(t *testing.T) {
	err := installed(t).checkValues(t.Context(), map[string]Setting{
		"network": {Value: "bogus", Pos: "f:1"}, "num-network-channels": {Value: "x", Pos: "f:2"}, "debug": {Value: "true", Pos: "f:3"},
	})
	if err == nil || !strings.Contains(err.Error(), "f:1: runsc.flags.network") || !strings.Contains(err.Error(), "f:2: runsc.flags.num-network-channels") ||
		strings.Contains(err.Error(), "f:3") {
		t.Errorf("got %v; want the first two refused", err)
	}
}

func TestPlatformFiles(t *testing.T) {
	dir := t.TempDir()
	settings := map[string]Setting{"network": {Value: "none"}, "debug": {Value: "true"}}
	if err := WritePlatformFiles(dir, "/opt/runsc", dir+"/runsc", settings); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "runsc-systrap.toml"))
	if err != nil {
		t.Fatal(err)
	}
	want := `# Written by sandpoold at every start from its [runsc] section; changes made here are lost.
binary_name = '/opt/runsc'
root = '` + dir + `/runsc'

[runsc_config]
debug = 'true'
network = 'none'
platform = 'systrap'
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%v, %v; want a file for each of systrap, kvm and ptrace and nothing else", files, err)
	}
}

func TestKnownBadVersions(t *testing.T) {
	tests := []struct {
		version string
		warns   bool
		refused bool
	}{
		{"release-20251215.0", false, false},
		{"release-20260112.0", false, true},
		{"release-20260525.1", false, true},
		{"release-20260601.0", false, false},
		{"20260905-160fafc42237", false, false},
		{"VERSION_MISSING", true, false},
	}
	for _, test := range tests {
		warning, err := Program{Version: test.version}.CheckVersion()
		if (warning != "") != test.warns || (err != nil) != test.refused {
			t.Errorf("runsc %s: warning %q, error %v", test.version, warning, err)
		}
		if err != nil && !strings.Contains(err.Error(), "#12647") {
			t.Errorf("error %q does not say why", err)
		}
	}
}

func TestLimitOverlay(t *testing.T) {
	for value, want := range map[string]string{
		"": "root:self,size=5", "none": "none", "all:memory": "all:memory,size=5", "root:dir=/x,size=1g": "root:dir=/x,size=5",
	} {
		file := ShimFile{Flags: map[string]string{FlagOverlay: value}}
		if file.LimitOverlay("5"); file.Flags[FlagOverlay] != want {
			t.Errorf("%q: got %q, want %q", value, file.Flags[FlagOverlay], want)
		}
	}
}

func TestUnenforcedLimitsAreTold(t *testing.T) {
	got := unenforced(map[string]Setting{"ignore-cgroups": {"true", "f:1"}, "overlay2": {"none", "f:2"}})
	if len(got) != 2 || !strings.HasPrefix(got[0], "f:1: runsc.flags.ignore-cgroups:") || !strings.HasPrefix(got[1], "f:2: runsc.flags.overlay2:") {
		t.Errorf("warnings %q", got)
	}
	if got := unenforced(map[string]Setting{"overlay2": {"all:memory", "f:2"}}); len(got) > 0 {
		t.Errorf("warnings %q, want none", got)
	}
}
