package runsc

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"sandpool/runtime/atomicfile"
	"sandpool/runtime/hostpath"
)

// handlers are the runtimes that Kubernetes may ask containerd's CRI plugin for, and the gVisor platform of each.
var handlers = map[string]string{"runsc": Systrap, "runsc-kvm": KVM}

// criPlugins are the plugins that have the runtimes, by the version of containerd's configuration.
var criPlugins = map[int]string{2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}

const (
	criShim = "io.containerd.runsc.v1"
	// ShimOptions is the type of the options that gVisor's shim reads, here and in the daemon's own sandboxes.
	ShimOptions = "io.containerd.runsc.v1.options"
)

// CRI is the part of containerd's configuration that gives Kubernetes gVisor. It is not the daemon's own, whose sandboxes need none.
type CRI struct {
	Version int    // of containerd's configuration, 2 or 3
	Dir     string // absolute; holds the shim's files. containerd must not import it
}

// maxContainerdFile is how large a file of containerd's configuration may be, in bytes.
const maxContainerdFile = 1 << 20

type criFile struct {
	Version int                  `toml:"version"`
	Plugins map[string]criPlugin `toml:"plugins"`
}

type criPlugin struct {
	Containerd struct {
		Runtimes map[string]criRuntime `toml:"runtimes"`
	} `toml:"containerd"`
}

type criRuntime struct {
	Type    string     `toml:"runtime_type"`
	Options criOptions `toml:"options"`
}

type criOptions struct {
	TypeURL    string `toml:"TypeUrl"`
	ConfigPath string `toml:"ConfigPath"`
}

// Handlers are the names that a RuntimeClass may have as its handler.
func Handlers() []string { return slices.Sorted(maps.Keys(handlers)) }

// shimPath is the file for the shims of a handler.
func (c CRI) shimPath(handler string) string {
	return filepath.Join(c.Dir, "runsc-"+handlers[handler]+".toml")
}

// DropIn is a file for the folder that containerd's configuration imports.
func (c CRI) DropIn() ([]byte, error) {
	plugin, ok := criPlugins[c.Version]
	if !ok {
		return nil, fmt.Errorf("version %d of containerd's configuration: want 2 or 3", c.Version)
	}
	var p criPlugin
	p.Containerd.Runtimes = map[string]criRuntime{}
	for handler := range handlers {
		p.Containerd.Runtimes[handler] = criRuntime{Type: criShim, Options: criOptions{TypeURL: ShimOptions, ConfigPath: c.shimPath(handler)}}
	}
	data, err := toml.Marshal(criFile{Version: c.Version, Plugins: map[string]criPlugin{plugin: p}})
	if err != nil {
		return nil, fmt.Errorf("encode containerd's configuration: %w", err)
	}
	return data, nil
}

// ShimFiles are the files that the drop-in names, by their paths.
func (c CRI) ShimFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	for handler, platform := range handlers {
		data, err := toml.Marshal(ShimFile{Flags: map[string]string{"platform": platform}})
		if err != nil {
			return nil, fmt.Errorf("encode the shim's file: %w", err)
		}
		files[c.shimPath(handler)] = data
	}
	return files, nil
}

// Write writes the drop-in to path, after the files that it names.
func (c CRI) Write(path string) error {
	data, err := c.DropIn()
	if err != nil {
		return err
	}
	files, err := c.ShimFiles()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // settings are no secret
			return fmt.Errorf("make the folder of the shim's files: %w", err)
		}
		if err := atomicfile.Write(name, files[name]); err != nil {
			return err
		}
	}
	return atomicfile.Write(path, data)
}

// CheckCRI checks that a file of containerd's configuration has all handlers, and that the files which it names are right. It
// reports every fault at once. What else the file has is not its business.
func CheckCRI(path string) error {
	data, err := hostpath.ReadFile(path, maxContainerdFile)
	if err != nil {
		return err
	}
	var file criFile
	if err := toml.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	plugin, ok := criPlugins[file.Version]
	if !ok {
		return fmt.Errorf("%s: version %d: want 2 or 3", path, file.Version)
	}
	var faults []error
	for other := range maps.Values(criPlugins) {
		if _, has := file.Plugins[other]; has && other != plugin {
			faults = append(faults, fmt.Errorf("%s: plugins.%q has no effect in version %d: want plugins.%q", path, other, file.Version, plugin))
		}
	}
	for _, name := range Handlers() {
		key := fmt.Sprintf("%s: plugins.%q.containerd.runtimes.%s", path, plugin, name)
		found, ok := file.Plugins[plugin].Containerd.Runtimes[name]
		if !ok {
			faults = append(faults, fmt.Errorf("%s: missing", key))
			continue
		}
		for _, fault := range found.faults(handlers[name]) {
			faults = append(faults, fmt.Errorf("%s.%w", key, fault))
		}
	}
	return errors.Join(faults...)
}

// faults are what is wrong with a handler for a platform, each with the key first.
func (r criRuntime) faults(platform string) (all []error) {
	if r.Type != criShim {
		all = append(all, fmt.Errorf("runtime_type: %q: want %q", r.Type, criShim))
	}
	if r.Options.TypeURL != ShimOptions {
		all = append(all, fmt.Errorf("options.TypeUrl: %q: want %q", r.Options.TypeURL, ShimOptions))
	}
	file, err := ReadShimFile(r.Options.ConfigPath)
	if err != nil {
		return append(all, fmt.Errorf("options.ConfigPath: %s", strings.ReplaceAll(err.Error(), "\n", " ")))
	}
	if got := file.Flags["platform"]; got != platform {
		all = append(all, fmt.Errorf("options.ConfigPath: %s: runsc_config.platform is %q: want %q", r.Options.ConfigPath, got, platform))
	}
	return all
}
