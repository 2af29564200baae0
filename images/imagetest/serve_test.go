//go:build images

package imagetest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// question is a command for the sandbox's shell, and what its output begins with.
type question struct{ command, want string }

// subject is an image, the rest of its template, and what is asked of it besides what is asked of all.
type subject struct {
	image, template string
	questions       []question
	copies          *question // what each copy of its sandbox still says
}

// answers asks the server of this port, as a sandbox's user would.
func answers(port, path, want string) question {
	return question{"curl -fsS http://127.0.0.1:" + port + path, want}
}

// served shows that the server's parent is tini, and that both are of the user sandbox.
func served(program string) question {
	return question{`for dir in /proc/[0-9]*; do
		parent=/proc/$(awk '/^PPid:/ { print $2 }' $dir/status)
		if [ "$(tr '\0' '\n' <$dir/cmdline | head -n 1)" = ` + program + ` ] && [ "$(cat $parent/comm)" = tini ]; then
			awk '/^Uid:/ { print $2 }' $dir/status $parent/status
		fi
	done 2>/dev/null`, "1000\n1000"}
}

// compile shows that the compilers work without what was removed of them.
const compile = `cd "$(mktemp -d)" && echo '#include <iostream>
int main() { std::cout << "compiled" << std::endl; }' >main.cc && g++ -O2 -o main main.cc && ./main`

// subjects are the images that `make images` builds when it is given no names, but for python-git: see TestFirstDay.
var subjects = []subject{
	{"production", `command = ["/usr/bin/tini", "--", "node", "-e", "require('http').createServer((_, r) => r.end('served by node')).listen(8080)"]
ready_port = 8080`, []question{
		answers("8080", "/", "served by node"),
		served("node"),
		{compile, "compiled"},
	}, nil},
	{"python-fastapi", "image_command = true\nready_port = 8000", []question{
		answers("8000", "/", `{"hello":"from a sandbox"}`),
		answers("8000", "/health", `{"ok":true,"asked":1,`),
		served("python3"),
	}, nil},
	{"react-vite", "image_command = true\nready_port = 5173", []question{
		answers("5173", "/ | grep -o '<div id=\"root\">'", `<div id="root">`),
		answers("5173", "/src/App.jsx | grep -o 'Hello from a sandbox'", "Hello from a sandbox"),
		served("node"),
	}, nil},
	{"nextjs", "image_command = true\nready_port = 3000\nready_command = \"curl -fsS http://127.0.0.1:3000/ http://127.0.0.1:3000/health\"\nsnapshot = true", []question{
		answers("3000", "/ | grep -o '<h1>Hello from a sandbox</h1>'", "<h1>Hello from a sandbox</h1>"),
		answers("3000", "/health", `{"ok":true,"asked":2,`),
		served("node"),
	}, new(answers("3000", "/health", `{"ok":true,"asked":3,`))},
}

// everywhere is what holds in every image.
func everywhere(t *testing.T) []question {
	return []question{
		{"id -un; id -u; id -g", "sandbox\n1000\n1000"},
		{"echo $LANG $LC_ALL; locale charmap 2>&1", "en_US.UTF-8 en_US.UTF-8\nUTF-8"},
		{"touch $HOME/.written && rm $HOME/.written && echo writable", "writable"},
		{"node --version", "v" + pinned(t, "NODE_VERSION")},
		{"npm --version", pinned(t, "NPM_VERSION")},
		{"pnpm --version", pinned(t, "PNPM_VERSION")},
		{"yarn --version", pinned(t, "YARN_VERSION")},
		{"git --version", "git version 2."},
		{"tini --version", "tini version 0."},
	}
}

// pinned returns the version that production's Dockerfile gives an argument.
func pinned(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "production", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^ARG ` + name + `=(.+)$`).FindSubmatch(data)
	if match == nil {
		t.Fatalf("production's Dockerfile has no ARG %s", name)
	}
	return string(match[1])
}

func TestImages(t *testing.T) {
	d := serve(t, subjects)
	for _, s := range subjects {
		t.Run(s.image, func(t *testing.T) {
			id := d.claim(t, s.image)
			d.question(t, id, slices.Concat(s.questions, everywhere(t))...)
			if s.copies != nil {
				d.copy(t, id, *s.copies)
			}
		})
	}
}

func (d daemon) question(t *testing.T, id string, all ...question) {
	t.Helper()
	for _, q := range all {
		if got := d.ask(t, id, q.command); !strings.HasPrefix(got, q.want) {
			t.Errorf("%s\nsays %q, want %q", q.command, got, q.want)
		}
	}
}

// copy asks a fork of a sandbox and one that is restored from a checkpoint, and then the sandbox itself.
func (d daemon) copy(t *testing.T, id string, q question) {
	t.Helper()
	for _, args := range [][]string{{"fork", id}, {"claim", "--checkpoint", d.sandpool(t, 0, "checkpoint", id)}} {
		other := d.sandpool(t, 0, args...)
		d.question(t, other, q)
		d.sandpool(t, 0, "release", other)
	}
	d.question(t, id, q)
}
