//go:build images

package imagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/scripts/outside"
)

// clientsConfig has two templates: one whose sandboxes know of no proxy, and one whose environment names it.
const clientsConfig = `
[network]
resolvers = ["` + outside.Resolver + `"]
`

const clientsTemplate = `
[templates.%[1]s]
image = "file://%[2]s"
ready_timeout = "4m"
env = ["NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt", "PIP_BREAK_SYSTEM_PACKAGES=1"]
%[5]s

[templates.%[1]s.network]
mode = "door"
preset = ["package-registries"]
allow = ["www.example.com", "other.example.com", "six.example.com", "echo.example.com:7", "mail.example.com:25", "db.example.com:5432", "ssh.example.com:22"]
proxy_env = %[3]t

[[templates.%[1]s.mounts]]
source = "%[4]s"
target = "/mnt/given"

[[templates.%[1]s.mounts]]
source = "%[4]s/ca.pem"
target = "/etc/ssl/certs/ca-certificates.crt"

[pools.%[1]s]
target = 1
`

const (
	withoutProxy = "clients"
	withProxy    = "proxied"
)

// warmed are templates that get their packages by the door and leave a server running, whose sandboxes go on from a snapshot of that.
var warmed = []struct {
	name, install, serve string
	port                 int
	says                 string
}{
	{"react-vite", "pnpm install vite react react-dom", "pnpm exec vite --port 5173 &", 5173, "hello from vite"},
	{"nextjs", "pnpm install next react react-dom", "pnpm exec next dev --port 3000 &", 3000, "hello from next"},
	{"python-fastapi", "pip install fastapi uvicorn", "python3 -m uvicorn main:app --port 8000 &", 8000, "good day"},
}

// connected starts a world, and in it a daemon with templates whose sandboxes may reach some of it.
func connected(t *testing.T) (*outside.World, daemon) {
	t.Helper()
	world := outside.StartFor(t)
	given := filepath.Join(host.Dir, "given")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(given, "guest"), "sandpool/scripts/outside/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build guest: %v: %s", err, out)
	}
	err := errors.Join(os.Chmod(given, 0o755), os.WriteFile(filepath.Join(given, "ca.pem"), world.CA, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	text := clientsConfig
	archive := filepath.Join(filepath.Dir(host.Image), "clients.tar")
	for _, name := range []string{withoutProxy, withProxy} {
		text += fmt.Sprintf(clientsTemplate, name, archive, name == withProxy, given, "")
	}
	for _, w := range warmed {
		more := fmt.Sprintf("prewarm = [%q, %q]\nready_port = %d\nsnapshot = true", w.install, w.serve, w.port)
		text += fmt.Sprintf(clientsTemplate, w.name, archive, false, given, more)
	}
	return world, launch(t, text, world.Do)
}

// say runs a command in the sandbox's bash and returns all that it says, whatever becomes of it.
func (d daemon) say(t *testing.T, id, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	_, err := d.client.Exec(ctx, id, wire.ExecRequest{Args: []string{"bash", "-c", command}}, client.Stdio{Out: &out, Err: &out})
	if err != nil {
		t.Errorf("%s: %v", command, err)
	}
	return strings.TrimSpace(out.String())
}

// converse has clients talk, one after the other.
func (d daemon) converse(t *testing.T, id string, all ...dialogue) {
	t.Helper()
	for _, each := range all {
		t.Run(each.client, func(t *testing.T) {
			if got := d.say(t, id, each.command); !strings.HasPrefix(got, each.want) {
				t.Errorf("%s\nsays %q, want %q", each.command, got, each.want)
			}
		})
	}
}

// TestClients has every client talk by the door with nothing set, and those that know of proxies also by the proxy.
func TestClients(t *testing.T) {
	world, d := connected(t)
	t.Run("with nothing set", func(t *testing.T) {
		id := d.claim(t, withoutProxy)
		d.converse(t, id, slices.Concat(proxied, direct)...)
		t.Run("what is refused", func(t *testing.T) { d.converse(t, id, refused...) })
		if n := world.Names.Asked("denied.example.com"); n > 0 {
			t.Errorf("a name that is denied was looked up %d times", n)
		}
	})
	t.Run("by the proxy", func(t *testing.T) {
		id := d.claim(t, withProxy)
		d.converse(t, id, proxied...)
		err := d.client.NetworkLog(t.Context(), id, 0, false, func(e wire.NetworkEntry) error {
			if e.Via == wire.ViaName {
				t.Errorf("a client has passed the proxy by: %+v", e)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("a project", func(t *testing.T) { d.project(t) })
	for _, w := range warmed {
		t.Run(w.name, func(t *testing.T) {
			if got := d.reach(t, d.claim(t, w.name), w.port); got != w.says {
				t.Errorf("the server that prewarm started says %q, want %q", got, w.says)
			}
		})
	}
}

// project is what docs/networking.md shows: a project's requirements are installed, its server is reached, a refusal is explained.
func (d daemon) project(t *testing.T) {
	t.Helper()
	id := d.claim(t, withoutProxy)
	d.converse(t, id,
		dialogue{"pip", "mkdir ~/project && cd ~/project && echo 'greeting==2.0.1' >requirements.txt && python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt && .venv/bin/pip list --format=freeze | grep politeness", "politeness==1.4.2"},
		dialogue{"a denied name", "curl -fsS https://denied.example.com/", "curl: (6)"},
	)
	d.sandpool(t, 0, "exec", "--detach", id, "--", "/home/sandbox/project/.venv/bin/python", "-m", "greeting", "8000")
	if got := d.say(t, id, "curl -fs --retry 60 --retry-connrefused --retry-delay 1 http://127.0.0.1:8000/"); got != "good day" {
		t.Errorf("the project's server says %q", got)
	}
	if got := d.reach(t, id, 8000); got != "good day" {
		t.Errorf("from the host the project's server says %q", got)
	}
	for name, want := range map[string]string{"denied.example.com": "No rule of the template allows denied.example.com", "10.20.30.40:80": "10.20.30.40"} {
		if why := d.sandpool(t, 1, "egress", "why", id, name); !strings.Contains(why, want) {
			t.Errorf("a refusal of %s is explained by %q, want %q", name, why, want)
		}
	}
	if log := d.sandpool(t, 0, "egress", "log", id); !strings.Contains(log, "denied.example.com") || !strings.Contains(log, "files.pythonhosted.org") {
		t.Errorf("the log of the project has %s", log)
	}
}

// reach asks a server in the sandbox from the host, as what goes by sandpool forward does.
func (d daemon) reach(t *testing.T, id string, port int) string {
	t.Helper()
	server := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.client.DialPort(ctx, id, port), nil
	}}}
	resp, err := server.Get("http://sandbox/")
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

// sandpool runs the command and returns what it prints. It must end with the exit code.
func (d daemon) sandpool(t *testing.T, code int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program("sandpool"), append([]string{"--socket", d.socket}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != code {
		t.Errorf("%s: %v, want exit code %d: %s%s", cmd, err, code, out.String(), stderr.String())
	}
	return strings.TrimSpace(out.String())
}
