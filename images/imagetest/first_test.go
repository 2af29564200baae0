//go:build images

package imagetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sandpool/scripts/outside"
)

// firstConfig is what the sample configuration says of a template for the first day, in a world of which the sandboxes know who signs.
const firstConfig = `
[network]
resolvers = ["` + outside.Resolver + `"]

[templates.python]
image = "file://%s"
ready_timeout = "4m"
network = { mode = "door", preset = ["package-registries"] }

[[templates.python.mounts]]
source = "%s"
target = "/etc/ssl/certs/ca-certificates.crt"

[pools.python]
target = 1
`

// TestFirstDay fetches a package and a repository in the image for the first day, as its user, with nothing set.
func TestFirstDay(t *testing.T) {
	world, err := outside.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	authorities := filepath.Join(host.Dir, "first.pem")
	if err := os.WriteFile(authorities, world.CA, 0o644); err != nil {
		t.Fatal(err)
	}
	d := launch(t, fmt.Sprintf(firstConfig, filepath.Join(filepath.Dir(host.Image), "python-git.tar"), authorities), world.Do)
	d.question(t, d.claim(t, "python"),
		question{"id -un; id -u; pwd", "sandbox\n1000\n/home/sandbox"},
		question{"locale charmap; tini --version", "UTF-8\ntini version 0."},
		question{"pip install -q greeting && python -c 'import greeting, politeness; print(politeness.word())'", "good day"},
		question{"git clone -q https://github.com/outside/greeting.git && cat greeting/greeting.txt", "good day"},
		question{"curl -fsS http://denied.example.com/ || echo $?", "6"})
}
