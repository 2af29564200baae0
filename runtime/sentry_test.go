package runtime

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"sandpool/runtime/hostproc"
	"sandpool/runtime/template"
)

// TestCommandsOfASandboxAreAlike compares what commands may and see that the sentry starts with such that the shim starts.
func TestCommandsOfASandboxAreAlike(t *testing.T) {
	e := openEngine(t, testConfig(t))
	for user, template := range map[string]template.Template{
		"root":   {Image: "file://" + host.Image},
		"nobody": {Image: "file://" + host.Image, User: "65534:65534", Cwd: "/tmp", Limits: template.Limits{PIDs: 50}},
	} {
		t.Run(user, func(t *testing.T) {
			if err := prepare(t.Context(), e, "alike", template); err != nil {
				t.Fatal(err)
			}
			id := startFrom(t, e, "alike")
			outputs := map[bool]string{}
			for _, direct := range []bool{true, false} {
				e.commands.Direct = direct
				code, out := run(t, e, id, "in", "sh", "-c", `grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status
					pwd; env | sort; ulimit -a; cat; echo again >/dev/stdout; ls -l /proc/self/fd | sed 's/.*[0-9] ->/->/' | cut -c1-8`)
				if code != 0 {
					t.Errorf("direct %v: exit code %d: %s", direct, code, out)
				}
				outputs[direct] = out
			}
			e.commands.Direct = true
			if outputs[true] != outputs[false] || !strings.Contains(outputs[true], "CapEff") {
				t.Errorf("the sentry starts\n%s\nthe shim starts\n%s", outputs[true], outputs[false])
			}
		})
	}
}

// TestSentriesThatStartNothing hides the sockets of sentries, as a runsc that keeps them elsewhere would.
func TestSentriesThatStartNothing(t *testing.T) {
	cfg := testConfig(t)
	cfg.Runsc = wrapRunsc(t, fmt.Sprintf(`case " $* " in *" start "*)
		%s "$@"; code=$?
		sed -i 's/"controlSocketPath":"[^"]*"/"controlSocketPath":""/' %s/*/*.state
		exit $code;;
	esac`, host.Runsc, cfg.runscDir()))
	e := openEngine(t, cfg)
	if warnings := strings.Join(e.Info().Warnings, "\n"); e.commands.Direct || !strings.Contains(warnings, "only the shim") {
		t.Errorf("direct is %v, warnings are %q; want one about the shim", e.commands.Direct, warnings)
	}
	if code, out := run(t, e, startSandbox(t, e), "in", "cat"); code != 0 || out != "in" {
		t.Errorf("exit code %d, output %q", code, out)
	}
}

// TestCommandsEndWithTheirSandbox kills a sentry under a command.
func TestCommandsEndWithTheirSandbox(t *testing.T) {
	e := openEngine(t, testConfig(t))
	id := startSandbox(t, e)
	p, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := hostproc.Kill(t.Context(), id, hostproc.Sentry); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(t.Context()); code != 128+int(unix.SIGKILL) || err != nil {
		t.Errorf("exit code %d, %v; want 137", code, err)
	}
	if _, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"true"}}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("exec in a sandbox without a sentry: %v, want a failed precondition", err)
	}
}
