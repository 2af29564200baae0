package runtime

import (
	"strings"
	"testing"
	"time"

	"sandpool/runtime/template"
)

// A sandbox knows localhost and its own name before its command begins, and by its new name after a restore. A name that nobody
// knows is an error at once.
func TestNames(t *testing.T) {
	e := openEngine(t, testConfig(t))
	prepareChanged(t, e, func(t *template.Template) {
		t.User, t.Command = "sandbox", []string{"sh", "-c", "cat /etc/hosts >/tmp/seen; exec httpd -f -p 8000 -h /etc"}
		t.ReadyPort = 8000
		t.ReadyTimeout = time.Minute
	})
	id := startFrom(t, e, "limited")
	if _, out := run(t, e, id, "", "cat", "/tmp/seen"); !strings.Contains(out, "127.0.0.1\tlocalhost\n") || !strings.Contains(out, "\t"+id+"\t") {
		t.Errorf("as its command began, its names were %q", out)
	}
	expect := func(id, not string) {
		t.Helper()
		for command, want := range map[string]string{
			"wget -qO- http://localhost:8000/hostname":                   id,
			"wget -qO- http://$(hostname):8000/hostname":                 id,
			"hostname; cat /etc/hostname; grep -c " + id + " /etc/hosts": id + " " + id + " 1",
			"wget -qO- http://nobody.example/ 2>&1; echo $?":             "wget: bad address 'nobody.example' 1",
			"grep -c " + not + " /etc/hosts":                             "0",
			"stat -c %a:%u /etc/hosts /etc/resolv.conf":                  "644:0 644:0",
		} {
			if _, out := run(t, e, id, "", "sh", "-c", command); strings.Join(strings.Fields(out), " ") != want {
				t.Errorf("%s: %q, want %q", command, out, want)
			}
		}
	}
	expect(id, "another")
	fit, dir := take(t, e, id)
	expect(restore(t, e, fit, dir), id)
}
