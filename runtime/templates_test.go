package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
)

// stepOf returns the step that failed.
func stepOf(err error) string {
	at, ok := errors.AsType[*StepError](err)
	if !ok {
		return ""
	}
	return at.Step
}

func TestTemplatesThatDoNotFitTheImage(t *testing.T) {
	e := openEngine(t, testConfig(t))
	e.cfg.CanaryTimeout = 5 * time.Second // not before: the platform that works has more
	for name, test := range map[string]struct {
		change     func(*template.Template)
		step, want string
	}{
		"image":    {func(t *template.Template) { t.Image = "sandpool.local/missing:1" }, StepImage, "import"},
		"user":     {func(t *template.Template) { t.User = "nobody2" }, StepSettings, `user "nobody2" is not in the image's /etc/passwd`},
		"group":    {func(t *template.Template) { t.User = "sandbox:staff" }, StepSettings, `group "staff" is not in the image's /etc/group`},
		"mount":    {func(t *template.Template) { t.Mounts = []template.Mount{{Source: "/nonexistent", Target: "/x"}} }, StepSettings, "mount on /x: stat /nonexistent"},
		"platform": {func(t *template.Template) { t.Platform = runsc.KVM }, StepSettings, "platform kvm cannot be used: canary: "},
	} {
		t.Run(name, func(t *testing.T) {
			bad := template.Template{Image: "file://" + host.Image}
			test.change(&bad)
			_, err := e.Prepare(t.Context(), "bad", bad)
			if stepOf(err) != test.step || !strings.HasPrefix(err.Error(), `prepare template "bad": `) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("step %q, %v; want step %s and %q", stepOf(err), err, test.step, test.want)
			}
		})
	}
	startSandbox(t, e)
}

func TestStartsThatFailNameTheirStep(t *testing.T) {
	e := openEngine(t, testConfig(t))
	for name, test := range map[string]struct {
		change     func(*template.Template)
		step, want string
	}{
		"no command":    {func(t *template.Template) { t.Command = []string{"foo", "-x"} }, StepProbe, `command "foo" is not in the image`},
		"no program":    {func(t *template.Template) { t.Command = []string{"/etc/passwd"} }, StepProbe, `command "/etc/passwd" cannot be run`},
		"prewarm fails": {func(t *template.Template) { t.Prewarm = []string{"echo no; exit 3"} }, StepPrewarm, `"echo no; exit 3": prewarm sandbox`},
		"never ready":   {func(t *template.Template) { t.ReadyCommand = "echo not yet; exit 4" }, StepReady, `"echo not yet; exit 4": exit code 4: not yet: await readiness`},
	} {
		t.Run(name, func(t *testing.T) {
			prepareChanged(t, e, func(t *template.Template) {
				t.PrewarmTimeout, t.ReadyTimeout = patience, 5*time.Second // one look must come to its end
				test.change(t)
			})
			_, err := e.Start(t.Context(), newID(t, e), prepared["limited"], nil)
			if stepOf(err) != test.step || !strings.Contains(err.Error(), test.want) {
				t.Errorf("step %q, %v; want step %s and %q", stepOf(err), err, test.step, test.want)
			}
		})
	}
}

func TestUserFolderAndMounts(t *testing.T) {
	e := openEngine(t, testConfig(t))
	shared, err := os.MkdirTemp(host.Dir, "mount") //nolint:usetesting // containerd must see it, and any user reach it
	file := filepath.Join(shared, "f")
	if err := errors.Join(err, os.Chmod(shared, 0o777), os.WriteFile(file, []byte("host\n"), 0o600), os.Chmod(file, 0o644)); err != nil {
		t.Fatal(err)
	}
	prepareChanged(t, e, func(t *template.Template) {
		t.User, t.Cwd = "sandbox", "/var/work"
		t.Mounts = []template.Mount{
			{Target: "/tmp/own", Size: 1 << 20}, {Source: shared, Target: "/ro", ReadOnly: true}, {Source: shared, Target: "/rw/"}, {Target: "/scratch", Size: 1 << 20},
		}
	})
	id := startFrom(t, e, "limited")
	for command, want := range map[string]string{
		"id -un; id -gn; pwd":                                                     "sandbox sandbox /var/work",
		"cat /ro/f; echo x > /ro/new":                                             "host sh: can't create /ro/new: Read-only file system",
		"echo guest > /rw/new && cat /ro/new":                                     "guest",
		"df -k /scratch | awk 'END {print $2}'":                                   "1024",
		"dd if=/dev/zero of=/scratch/f bs=1M count=2 2>&1 | grep -o 'No space.*'": "No space left on device",
		"df -k /tmp/own | awk 'END {print $2}'":                                   "1024",
	} {
		if _, out := run(t, e, id, "", "sh", "-c", command); strings.Join(strings.Fields(out), " ") != want {
			t.Errorf("%s: %q, want %q", command, out, want)
		}
	}
	if data, err := os.ReadFile(filepath.Join(shared, "new")); err != nil || string(data) != "guest\n" {
		t.Errorf("on the host: %q, %v; want what the sandbox wrote", data, err)
	}
}

func TestPlatformOfATemplate(t *testing.T) {
	e := openEngine(t, testConfig(t))
	prepareChanged(t, e, func(t *template.Template) { t.Platform = runsc.Ptrace })
	id := startFrom(t, e, "limited")
	fit, dir := take(t, e, id)
	if fit.Platform != runsc.Ptrace || e.Info().Platform != runsc.Systrap {
		t.Errorf("platform of the checkpoint %q, of the engine %q", fit.Platform, e.Info().Platform)
	}
	restored := restore(t, e, fit, dir)
	for _, id := range []string{id, restored} {
		found := false
		for _, line := range servants(t, id) {
			found = found || strings.Contains(line, "runsc-sandbox") && strings.Contains(line, "--platform=ptrace")
		}
		if !found {
			t.Errorf("the sentry of %s is not on ptrace: %q", id, servants(t, id))
		}
	}
	if canaries := e.Info().Canaries; len(canaries) != 2 || canaries[1].Platform != runsc.Ptrace || !canaries[1].OK {
		t.Errorf("canaries %+v, want one of ptrace", canaries)
	}
}
