package daemontest

import (
	"strings"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

// TestTemplateCheck tries a good template and some of which each fails at another step.
func TestTemplateCheck(t *testing.T) {
	cfg := testConfig(t, 1, 2)
	image := configs.FileScheme + host.Image
	patient := configs.Template{Image: image, PrewarmTimeout: lifetime.Duration(patience), ReadyTimeout: lifetime.Duration(5 * time.Second)} // one look must come to its end
	for name, change := range map[string]func(*configs.Template){
		"no-image":   func(t *configs.Template) { t.Image = "sandpool.local/none:1" },
		"no-user":    func(t *configs.Template) { t.User = "nobody2" },
		"no-command": func(t *configs.Template) { t.Command = []string{"foo"} },
		"no-warmth":  func(t *configs.Template) { t.Prewarm = []string{"exit 3"} },
		"never":      func(t *configs.Template) { t.ReadyCommand = "echo not yet; false" },
		"good":       func(t *configs.Template) { t.Prewarm = []string{"true"}; t.MemoryMiB = 256 },
	} {
		tmpl := patient
		change(&tmpl)
		cfg.Templates[name] = tmpl
	}
	d := start(t, cfg)
	for name, want := range map[string]struct{ step, detail string }{
		"no-image":   {"image", "sandpool.local/none:1"},
		"no-user":    {"settings", `user "nobody2" is not in the image's /etc/passwd`},
		"no-command": {"probe", `command "foo" is not in the image`},
		"no-warmth":  {"prewarm", "exit code 3"},
		"never":      {"ready", "not yet"},
		"good":       {"ready", ""},
	} {
		steps, err := d.CheckTemplate(t.Context(), name)
		if err != nil || len(steps) == 0 {
			t.Fatalf("%s: %v, %v", name, steps, err)
		}
		last := steps[len(steps)-1]
		for _, s := range steps[:len(steps)-1] {
			if !s.OK || s.Detail != "" || s.Step == last.Step || s.Step == "ready" {
				t.Errorf("%s: step %+v comes before the last, %s", name, s, last.Step)
			}
		}
		if last.Step != want.step || last.OK != (want.detail == "") || !strings.Contains(last.Detail, want.detail) {
			t.Errorf("%s: the last of %d steps is %+v, want %s and %q", name, len(steps), last, want.step, want.detail)
		}
	}
	_, err := d.CheckTemplate(t.Context(), "unknown")
	wantError(t, err, "not_found")
	checkAlive(t, d.Client, claim(t, d.Client, wire.ClaimRequest{})) // all of that harmed nobody
	await(t, "nothing is left of the trials", func() bool { return len(containers(t, "warming")) == 0 })

	list, err := d.Templates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tmpl := range list {
		failed := tmpl.Name == "no-image" || tmpl.Name == "no-user"
		if (tmpl.State == wire.TemplateFailed) != failed || (tmpl.Reason != "") != failed || (tmpl.Digest == "") != failed {
			t.Errorf("template %+v; want it failed: %t", tmpl, failed)
		}
	}
	if len(list) != 7 {
		t.Errorf("%d templates are listed, want 7", len(list))
	}
}
