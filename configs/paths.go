package configs

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"sandpool/runtime/hostpath"
)

// CheckPaths looks at the host, and joins a fault for each path of a usable Config which others than root could use to have rights that
// are not theirs: see hostpath.Check. Mounts may be of what belongs to others, but nobody else may decide what their sources lead to, and
// one that sandboxes write to must pass hostpath.CheckWritable. What is not there is no fault here, but of secrets.
func (c Config) CheckPaths() error {
	found := &faults{places: c.places}
	for _, p := range c.trusted() {
		found.path(p.key, p.path, hostpath.Check)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Templates)) {
		for i, m := range c.Templates[name].Mounts {
			key := fmt.Sprintf("%s[%d].source", join(join("templates", name), "mounts"), i)
			switch {
			case m.Type != MountBind:
			case m.ReadOnly:
				found.path(key, m.Source, hostpath.CheckAbove)
			default:
				found.path(key, m.Source, hostpath.CheckWritable)
			}
		}
	}
	for i, s := range c.Secrets {
		if s.at() == "" {
			continue // a credential of the service is there when that runs
		}
		if _, _, _, err := s.Read(); err != nil {
			found.add(fmt.Sprintf("secrets[%d]", i), "%v", err)
		}
	}
	return found.err()
}

func (f *faults) path(key, path string, check func(string) error) {
	if err := check(path); err != nil {
		f.add(key, "%q: %v", path, err)
	}
}

// checkFile is about the configuration file itself, which names programs that root runs.
func checkFile(path string) error {
	at, err := filepath.Abs(path)
	if err == nil {
		err = hostpath.Check(at)
	}
	if err != nil {
		return fault{file: path, text: err.Error()}
	}
	return nil
}

// trustedPath is what the daemon runs, or reads or writes as root.
type trustedPath struct{ key, path string }

func (c Config) trusted() []trustedPath {
	list := []trustedPath{
		{"daemon.socket", c.Daemon.Socket},
		{"daemon.state_dir", c.Daemon.StateDir},
		{"containerd.address", c.Containerd.Address},
		{"runsc.init", c.Runsc.Init},
		{"checkpoints.dir", c.Checkpoints.Dir},
		{"images.docker_config", c.Images.dockerConfig()},
	}
	if runsc, err := exec.LookPath(c.Runsc.Path); err == nil {
		list = append(list, trustedPath{"runsc.path", runsc})
	}
	if filepath.IsAbs(c.Runsc.Shim) {
		list = append(list, trustedPath{"runsc.shim", c.Runsc.Shim})
	}
	if c.Images.HostsDir != "" {
		list = append(list, trustedPath{"images.hosts_dir", c.Images.HostsDir})
	}
	for i, hook := range c.Hooks {
		if len(hook.Command) > 0 {
			list = append(list, trustedPath{fmt.Sprintf("hooks[%d].command", i), hook.Command[0]})
		}
	}
	for i, s := range c.Secrets {
		if s.CAFile != "" {
			list = append(list, trustedPath{fmt.Sprintf("secrets[%d].ca_file", i), s.CAFile})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Templates)) {
		if path, ok := strings.CutPrefix(c.Templates[name].Image, FileScheme); ok {
			list = append(list, trustedPath{join(join("templates", name), "image"), path})
		}
	}
	return slices.DeleteFunc(list, func(p trustedPath) bool { return !filepath.IsAbs(p.path) })
}

// dockerConfig is the file that is read for credentials.
func (i Images) dockerConfig() string {
	if i.DockerConfig != "" {
		return i.DockerConfig
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home := os.Getenv("HOME")
	if self, err := user.Current(); home == "" && err == nil { // a service may have no variable of that name
		home = self.HomeDir
	}
	return filepath.Join(home, ".docker", "config.json")
}
