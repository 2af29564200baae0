package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sandpool/scripts/hostile/network"
	"sandpool/scripts/outside"
	"sandpool/scripts/testhost"
)

// settings are those of one daemon.
type settings struct {
	name        string // of the daemon, which tells its files apart
	host        *testhost.Host
	state       string // folder
	checkpoints string // folder
	more        string // of the file
}

// settings returns those of a daemon with a template and a pool of one sandbox.
func (g *ground) settings(name string) settings {
	dir := g.host.Dir
	return settings{name: name, host: g.host, state: filepath.Join(dir, name), checkpoints: filepath.Join(dir, name+"-checkpoints")}
}

func (s settings) socket() string { return filepath.Join(s.host.Dir, s.name+".sock") }
func (s settings) file() string   { return filepath.Join(s.host.Dir, s.name+".toml") }

// write writes what every daemon is told. Bounds are small: an attack then needs few attempts.
func (s settings) write() error {
	text := s.host.Config(testhost.Settings{
		"daemon":      {"socket": s.socket(), "socket_mode": "0666", "state_dir": s.state},
		"containerd":  {"namespace": s.host.Namespace + "-" + s.name},
		"limits":      {"start_timeout": "45s"},
		"reserves":    {"memory_mib": 64, "disk_mib": 64, "pids": 64, "files": 64},
		"checkpoints": {"dir": s.checkpoints, "max_count": 6},
		"events":      {"keep": 100},
	}, s.more)
	return os.WriteFile(s.file(), []byte(text), 0o600)
}

// template is the text of a template whose sandboxes are small and root's inside. more is added to it.
func template(name, image, more string) string {
	return fmt.Sprintf("\n[templates.%s]\nimage = %q\nuser = \"0\"\nmemory_mib = 128\ndisk_mib = 64\npids = 64\n%s\n", name, image, more)
}

// pool is the text of a pool.
func pool(name string, target, most int) string {
	return fmt.Sprintf("\n[pools.%s]\ntarget = %d\nmax = %d\n", name, target, most)
}

// lifetimes are for claims with an end at hand, and for claims that are put off again and again.
const lifetimes = `
[lifetimes.short]
lifetime = "38s"
warning = "24s"
grace = "22s"

[lifetimes.long]
lifetime = "1h"
extensions = 1000
`

// readOnlyFolder is bound into every sandbox of the template default.
func (g *ground) readOnlyFolder() string { return filepath.Join(g.host.Dir, "given") }

const (
	givenText = "given to all, to read\n"
	givenMode = 0o644
)

// wideMost is the most sandboxes of the template wide: more than one user may have by default.
const wideMost = 25

// mainTemplates makes what the main daemon's templates need and returns their text.
func (g *ground) mainTemplates() (string, error) {
	if err := os.Mkdir(g.readOnlyFolder(), 0o755); err != nil { //nolint:gosec // sandboxes read it
		return "", err
	}
	file := filepath.Join(g.readOnlyFolder(), "file")
	if err := os.WriteFile(file, []byte(givenText), givenMode); err != nil {
		return "", err
	}
	if err := os.Chmod(file, givenMode); err != nil {
		return "", err
	}
	var text strings.Builder
	text.WriteString(g.registry.config(g.host.Dir) + lifetimes)
	mount := "[[templates.default.mounts]]\nsource = %q\ntarget = \"/mnt/%s\"\n"
	guest := filepath.Join(filepath.Dir(g.host.Init), "guest")
	more := fmt.Sprintf(mount+mount, g.readOnlyFolder(), "given", guest, "guest") + "[templates.default.network]\n" + network.Rules
	text.WriteString(template("default", "file://"+g.host.Image, more) + pool("default", 4, 16))
	key, authorities := filepath.Join(g.host.Dir, "key"), filepath.Join(g.host.Dir, "ca.pem")
	if err := errors.Join(os.WriteFile(key, []byte(network.Key), 0o600), os.WriteFile(authorities, g.world.CA, 0o600)); err != nil {
		return "", err
	}
	fmt.Fprintf(&text, "\n[[secrets]]\nname = \"api\"\nhosts = [%q]\nheader = %q\nfile = %q\nca_file = %q\n", network.Keyed, network.KeyHeader, key, authorities)
	fmt.Fprintf(&text, "\n[network]\nresolvers = [%q]\n", outside.Resolver)
	text.WriteString(template("wide", "file://"+g.host.Image, "") + pool("wide", 0, wideMost))
	images, err := g.imageTemplates()
	if err != nil {
		return "", err
	}
	return text.String() + images + g.registry.templates(), g.registry.write(g.host.Dir)
}
