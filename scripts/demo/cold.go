package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// coldConfig has the templates of which `make bench-cold` measures starts, from the images that `make images` builds.
const coldConfig = `
[limits]
start_timeout = "2m"
claim_wait = "2m"

[templates.default]
image = "file://%[1]s/production.tar"

[pools.default]
target = 1

[templates.react-vite]
image = "file://%[1]s/react-vite.tar"
image_command = true
ready_command = "curl -fsS -o /dev/null http://127.0.0.1:5173/src/main.jsx"
ready_timeout = "1m"

[pools.react-vite]
target = 0

[templates.react-vite-uncached]
image = "file://%[1]s/react-vite.tar"
image_command = true
env = ["VITE_CACHE_DIR=/tmp/vite"]
ready_command = "curl -fsS -o /dev/null http://127.0.0.1:5173/src/main.jsx"
ready_timeout = "1m"

[pools.react-vite-uncached]
target = 0

[templates.python-fastapi]
image = "file://%[1]s/python-fastapi.tar"
image_command = true
ready_port = 8000
ready_timeout = "1m"

[pools.python-fastapi]
target = 1

[templates.python-fastapi-warm]
image = "file://%[1]s/python-fastapi.tar"
image_command = true
ready_port = 8000
ready_timeout = "1m"
snapshot = true

[pools.python-fastapi-warm]
target = 0
`

// coldTemplates are those of coldConfig.
func (d *demo) coldTemplates() (string, error) {
	dir := filepath.Dir(d.host.Image)
	for _, name := range []string{"production", "react-vite", "python-fastapi"} {
		if _, err := os.Stat(filepath.Join(dir, name+".tar")); err != nil {
			return "", fmt.Errorf("%w (`make images` makes it)", err)
		}
	}
	return fmt.Sprintf(coldConfig, dir), nil
}

// measureCold is `make bench-cold`: it shows that the images serve, and measures their starts.
func (d *demo) measureCold(ctx context.Context) error {
	for _, server := range []struct{ template, request, want string }{
		{"python-fastapi", "curl -fsS http://127.0.0.1:8000/health", `"ok":true`},
		{"react-vite", "curl -fsS http://127.0.0.1:5173/src/App.jsx | head -n 20", "Hello from a sandbox"},
	} {
		id, err := d.named(ctx, "ID=$(sandpool claim --template "+server.template+")", "claim", "--template", server.template)
		if err != nil {
			return err
		}
		out, err := d.shown(ctx, "sandpool", "exec", id, "--", "sh", "-c", server.request)
		if err != nil {
			return err
		}
		if !strings.Contains(out, server.want) {
			return fmt.Errorf("the server of %s answers %q, want something with %s", server.template, out, server.want)
		}
		if _, err := d.shown(ctx, "sandpool", "release", id); err != nil {
			return err
		}
	}
	if _, err := d.shown(ctx, "sandpool", "bench", "--template", "python-fastapi", "--warm", "20", "--cold", "20", "--get", "8000/health"); err != nil {
		return err
	}
	plot := filepath.Join(filepath.Dir(d.bin), "cold-start.svg")
	_, err := d.shown(ctx, "sandpool", "bench", "cold-start", "--rounds", "10", "--svg", plot, "--empty", "default",
		"--deps", "react-vite-uncached", "--deps", "python-fastapi-warm", "--cache", "react-vite", "--pool", "python-fastapi", "--snapshot", "python-fastapi-warm")
	return err
}
