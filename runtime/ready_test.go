package runtime

import (
	"os"
	"strings"
	"testing"
	"time"

	"sandpool/runtime/template"
)

func TestPrewarmAndReadiness(t *testing.T) {
	e := openEngine(t, testConfig(t))
	prepare := func(change func(*template.Template)) {
		t.Helper()
		tmpl := template.Template{
			Image: "file://" + host.Image, PrewarmTimeout: patience, ReadyTimeout: patience,
			Prewarm:   []string{"echo installing", "echo dep > /tmp/dep"},
			ReadyPort: 8080, ReadyCommand: "test -e /tmp/served",
			Command: []string{"sh", "-c", "nc -l -p 8080 && touch /tmp/served; sleep 1000"},
		}
		change(&tmpl)
		if err := prepare(t.Context(), e, "default", tmpl); err != nil {
			t.Fatal(err)
		}
	}
	prepare(func(*template.Template) {})
	id := startSandbox(t, e)
	if code, out := run(t, e, id, "", "cat", "/tmp/dep"); code != 0 || out != "dep\n" {
		t.Errorf("the prewarmed file: %d, %q", code, out)
	}
	if kept, err := os.ReadFile(e.cfg.prewarmLog("default")); err != nil || string(kept) != "$ echo installing\ninstalling\n$ echo dep > /tmp/dep\n" {
		t.Errorf("kept output %q, %v", kept, err)
	}
	for name, test := range map[string]struct {
		change func(*template.Template)
		want   []string
	}{
		"a command fails": {func(t *template.Template) { t.Prewarm = []string{"echo no such package >&2; exit 4"} },
			[]string{"exit code 4", "no such package", "prewarm-default.log"}},
		"a command hangs":                 {func(t *template.Template) { t.Prewarm, t.PrewarmTimeout = []string{"sleep 1000"}, time.Second }, []string{"not done within 1s", "sleep 1000"}},
		"nobody listens":                  {func(t *template.Template) { t.ReadyPort, t.ReadyTimeout = 81, time.Second }, []string{"port 81", "not done within 1s"}},
		"the check does not pass":         {func(t *template.Template) { t.ReadyCommand, t.ReadyTimeout = "echo not yet; false", 5*time.Second }, []string{"not yet", "not done within 5s"}},
		"a command takes too much memory": {func(t *template.Template) { t.Prewarm, t.Limits.Memory = []string{"tail /dev/zero"}, 128<<20 }, []string{"tail /dev/zero", "lack of memory", "128 MiB"}},
		"the check takes too much memory": {func(t *template.Template) { t.ReadyCommand, t.Limits.Memory = "tail /dev/zero", 128<<20 }, []string{"tail /dev/zero", "lack of memory", "128 MiB"}},
		"there is no such program":        {func(t *template.Template) { t.Prewarm = []string{"pnpm install"} }, []string{"exit code 127", "not found"}},
	} {
		t.Run(name, func(t *testing.T) {
			prepare(test.change)
			id := NewID()
			_, err := e.Start(t.Context(), id, prepared["default"], nil)
			if destroyErr := e.Destroy(t.Context(), id); destroyErr != nil {
				t.Error(destroyErr)
			}
			if err == nil {
				t.Fatal("it started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestHeadroom(t *testing.T) {
	e := openEngine(t, testConfig(t))
	h, err := e.Headroom(t.Context())
	if err != nil || h.Memory == 0 || h.Disk == 0 || h.PIDs == 0 || h.Files == 0 {
		t.Errorf("%+v, %v; want something of each left", h, err)
	}
	if !strings.HasPrefix(e.snapshots, host.Dir) {
		t.Errorf("disk is measured at %q, the snapshots are below %s", e.snapshots, host.Dir)
	}
}
