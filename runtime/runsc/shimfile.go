package runsc

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"sandpool/runtime/atomicfile"
)

// ShimFile is the TOML file that the shim reads through the runtime option ConfigPath.
type ShimFile struct {
	Program string            `toml:"binary_name,omitempty"` // empty: what is called runsc in containerd's PATH
	Root    string            `toml:"root,omitempty"`        // empty: the shim's own place
	Flags   map[string]string `toml:"runsc_config"`          // the shim wants strings, also for booleans
}

// ReadShimFile reads one.
func ReadShimFile(path string) (file ShimFile, _ error) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = toml.Unmarshal(data, &file)
	}
	if err != nil {
		return file, fmt.Errorf("read the shim's file: %w", err)
	}
	return file, nil
}

// Clone returns a copy that shares nothing with the file.
func (f ShimFile) Clone() ShimFile {
	f.Flags = maps.Clone(f.Flags)
	return f
}

// Encode returns the file's text.
func (f ShimFile) Encode() ([]byte, error) {
	data, err := toml.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode the shim's file: %w", err)
	}
	return data, nil
}

// Write writes the file in place, for root alone.
func (f ShimFile) Write(path string) error {
	data, err := f.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// Args writes the flags as arguments, in the order of their names.
func (f ShimFile) Args(except ...string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(f.Flags)) {
		if !slices.Contains(except, name) {
			list = append(list, "--"+name+"="+f.Flags[name])
		}
	}
	return list
}

// LimitOverlay gives what a sandbox may write to its root file system another size, in bytes. Where there is no overlay none is made: the
// sandbox would write to files that a checkpoint does not hold.
func (f ShimFile) LimitOverlay(bytes string) {
	value := f.Flags[FlagOverlay]
	switch value {
	case "none":
		return
	case "":
		value = "root:self" // runsc's own default
	}
	medium, _, _ := strings.Cut(value, ",")
	f.Flags[FlagOverlay] = medium + ",size=" + bytes
}

// PlatformFile is where in dir the file for a platform is kept.
func PlatformFile(dir, platform string) string { return filepath.Join(dir, "runsc-"+platform+".toml") }

// WritePlatformFiles writes a file for each platform into dir, which say that sandboxes are run by the program with the settings, and
// that it keeps its state in root.
func WritePlatformFiles(dir, program, root string, settings map[string]Setting) error {
	for _, platform := range Platforms {
		path := PlatformFile(dir, platform)
		file := ShimFile{Program: program, Root: root, Flags: map[string]string{"platform": platform}}
		for name, s := range settings {
			file.Flags[name] = s.Value
		}
		data, err := toml.Marshal(file)
		if err != nil {
			return fmt.Errorf("encode %s: %w", path, err)
		}
		header := "# Written by sandpoold at every start from its [runsc] section; changes made here are lost.\n"
		if err := atomicfile.Write(path, append([]byte(header), data...)); err != nil {
			return err
		}
	}
	return nil
}
