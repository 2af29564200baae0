package runtime

import (
	"archive/tar"
	"bytes"
	"os"
	"strings"
	"testing"

	"sandpool/runtime/runsc"
	"sandpool/runtime/template"
	"sandpool/runtime/ulimit"
)

// onTerminal runs a command with a terminal, which the shim starts.
func onTerminal(t *testing.T, e *Engine, id, command string) string {
	t.Helper()
	var out bytes.Buffer
	p, err := e.Exec(t.Context(), id, ExecSpec{Args: []string{"sh", "-c", command}, TTY: true, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The limits of a process are the same however it is started, and after a restore.
func TestUlimitsOfEveryProcess(t *testing.T) {
	e := openEngine(t, testConfig(t))
	const show = "echo $(ulimit -n) $(ulimit -Hn) $(ulimit -c) $(ulimit -u)"
	prepareChanged(t, e, func(t *template.Template) {
		t.Limits = template.Limits{Memory: 256 << 20, PIDs: 40, Ulimits: map[string]ulimit.Limit{"core": {Soft: 7 << 10, Hard: 7 << 10}}}
		t.User, t.Command = "sandbox", []string{"sh", "-c", show + " >/tmp/command; trap '" + show + " >/tmp/later; exec sleep 1000000' USR1; echo $$ >/tmp/pid; while :; do sleep 0.01; done"}
	})
	expect := func(id string) {
		t.Helper()
		const want = "65536 1048576 14 40"
		_, direct := run(t, e, id, "", "sh", "-c", show)
		_, command := run(t, e, id, "", "sh", "-c", "until [ -s /tmp/pid ]; do sleep 0.01; done; cat /tmp/command")
		_, spawned := run(t, e, id, "", "sh", "-c", "rm -f /tmp/spawned; "+template.InitPath+" spawn --log /tmp/spawned -- sh -c '"+show+"' >/dev/null; until [ -s /tmp/spawned ]; do sleep 0.01; done; cat /tmp/spawned")
		_, later := run(t, e, id, "", "sh", "-c", "rm -f /tmp/later; kill -USR1 $(cat /tmp/pid); until [ -s /tmp/later ]; do sleep 0.01; done; cat /tmp/later")
		for how, got := range map[string]string{"exec": direct, "terminal": onTerminal(t, e, id, show), "command": command, "spawn": spawned, "command later": later} {
			if strings.TrimSpace(got) != want {
				t.Errorf("%s: %q, want %s", how, got, want)
			}
		}
		if _, out := run(t, e, id, "", "sh", "-c", "df -k /dev/shm | awk 'END {print $2}'"); out != "131072\n" {
			t.Errorf("/dev/shm has %q kB, want half of the memory", out)
		}
	}
	id := startFrom(t, e, "limited")
	fit, dir := take(t, e, id)
	expect(id)
	expect(restore(t, e, fit, dir))
}

// Programs with the set-uid bit run as their owner where the template says so, and only there.
func TestSetuid(t *testing.T) {
	program, err := os.ReadFile(host.Init)
	if err != nil {
		t.Fatal(err)
	}
	file := fileEntry("bin/init", string(program))
	file.Mode = 0o4755
	e := openEngine(t, testConfig(t))
	old := Engine{runsc: runsc.Program{Flags: map[string]string{"network": ""}}}
	if _, err := old.prepare(t.Context(), nil, template.Template{AllowSetuid: true}); err == nil || !strings.Contains(err.Error(), "no flag allow-suid") {
		t.Errorf("of a runsc that cannot: %v", err)
	}
	const try = "grep NoNewPrivs /proc/self/status; echo x | /bin/init tell && cat /run/sandpool/events"
	for _, allowed := range []bool{false, true} {
		odd := oddImage{entries: []tar.Header{file}, change: func(t *template.Template) { t.User, t.AllowSetuid = "sandbox", allowed }}
		if err := prepareOdd(t, e, "setuid", odd); err != nil {
			t.Fatal(err)
		}
		id := startFrom(t, e, "odd")
		ids := []string{id}
		if allowed {
			fit, dir := take(t, e, id)
			ids = append(ids, restore(t, e, fit, dir))
		}
		for _, id := range ids {
			_, out := run(t, e, id, "", "sh", "-c", try)
			if got := strings.Contains(out, "NoNewPrivs:\t0\nx\n"); got != allowed {
				t.Errorf("with allow_setuid = %v: %q", allowed, out)
			}
		}
	}
}
