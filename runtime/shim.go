package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"sandpool/runtime/atomicfile"
	"sandpool/runtime/checkpoint"
)

// The files that each sandbox has in the folder of Config.shimDir, named after it. The container's record names the shim's
// file once and for all, so a sandbox has one of its own, which can be another when it is started again.
const (
	shimSuffix  = ".toml"  // what its shim reads when its task is created
	fitSuffix   = ".json"  // what it was made with
	runscSuffix = ".runsc" // of one that is restored: the program that its shim takes for runsc
	imageSuffix = ".image" // of one that is being restored: a link to the checkpoint's folder
)

// restoreScript is a shim's runsc while its sandbox is restored: it restores where the shim would start. It is called by a
// name of the sandbox's own, beside which the checkpoint is.
const restoreScript = `#!/bin/sh
# Written by sandpoold at every start; changes made here are lost.
for arg in "$@"; do
	shift
	if [ "$arg" = start ]; then
		set -- "$@" restore --detach --background --image-path="${0%%%s}%s"
	else
		set -- "$@" "$arg"
	fi
done
exec %s "$@"
`

// shimDir holds the files of each sandbox's own.
func (c Config) shimDir() string { return filepath.Join(c.StateDir, "shim") }

func (c Config) sandboxFile(id, suffix string) string { return filepath.Join(c.shimDir(), id+suffix) }

func (c Config) restorer() string { return filepath.Join(c.StateDir, "runsc-restore") }

// writeRestoreScript writes the script that all restored sandboxes share.
func (c Config) writeRestoreScript(runsc string) error {
	quoted := "'" + strings.ReplaceAll(runsc, "'", `'\''`) + "'"
	if err := atomicfile.Write(c.restorer(), fmt.Appendf(nil, restoreScript, runscSuffix, imageSuffix, quoted)); err != nil {
		return err
	}
	if err := os.Chmod(c.restorer(), 0o755); err != nil { //nolint:gosec // a program
		return fmt.Errorf("write %s: %w", c.restorer(), err)
	}
	return nil
}

// writeSandboxFiles writes what the shim of a new sandbox reads, and notes what the sandbox is made with.
func (e *Engine) writeSandboxFiles(id string, t *Prepared) error {
	made, err := e.fit(t)
	if err != nil {
		return err
	}
	data, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("encode what the sandbox is made with: %w", err)
	}
	if err := os.WriteFile(e.cfg.sandboxFile(id, fitSuffix), data, 0o600); err != nil {
		return err
	}
	file, err := e.shimFile(t)
	if err != nil {
		return err
	}
	return writeShimFile(e.cfg.sandboxFile(id, shimSuffix), file)
}

// shimFile is what the shims of a template's sandboxes read.
func (e *Engine) shimFile(t *Prepared) (shimFile, error) {
	file, err := readShimFile(e.cfg.platformFile(t.platform))
	if err != nil {
		return file, err
	}
	if t.disk != "" {
		file.RunscFlags["overlay2"] = limitOverlay(file.RunscFlags["overlay2"], t.disk)
	}
	if t.setuid {
		file.RunscFlags[setuidFlag] = "true"
	}
	return file, nil
}

func writeShimFile(path string, file shimFile) error {
	data, err := toml.Marshal(file)
	if err != nil {
		return fmt.Errorf("encode the shim's file: %w", err)
	}
	return os.WriteFile(path, data, 0o600)
}

// madeWith returns what a sandbox was made with, and the flags of its runsc.
func (e *Engine) madeWith(id string) (made checkpoint.Fit, flags map[string]string, _ error) {
	data, err := os.ReadFile(e.cfg.sandboxFile(id, fitSuffix))
	if err == nil {
		err = json.Unmarshal(data, &made)
	}
	if err != nil {
		return made, nil, fmt.Errorf("find out what it was made with: %w", err)
	}
	file, err := readShimFile(e.cfg.sandboxFile(id, shimSuffix))
	return made, file.RunscFlags, err
}

func readShimFile(path string) (file shimFile, _ error) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = toml.Unmarshal(data, &file)
	}
	if err != nil {
		return file, fmt.Errorf("read the shim's file: %w", err)
	}
	return file, nil
}

// writeRestoreFiles makes the next start of a sandbox's task a restore of the checkpoint in dir.
func (e *Engine) writeRestoreFiles(id, dir string) error {
	file, err := readShimFile(e.cfg.sandboxFile(id, shimSuffix))
	if err != nil {
		return err
	}
	file.BinaryName = e.cfg.sandboxFile(id, runscSuffix)
	return errors.Join(
		writeShimFile(e.cfg.sandboxFile(id, shimSuffix), file),
		link(dir, e.cfg.sandboxFile(id, imageSuffix)),
		link(e.cfg.restorer(), e.cfg.sandboxFile(id, runscSuffix)),
	)
}

// settleRestoreFiles lets the shim of a restored sandbox call runsc without the detour.
func (e *Engine) settleRestoreFiles(id string) error {
	return errors.Join(link(e.runsc, e.cfg.sandboxFile(id, runscSuffix)), os.Remove(e.cfg.sandboxFile(id, imageSuffix)))
}

// link makes path a symbolic link to target, in place of what it was.
func link(target, path string) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, next); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// sandboxFiles returns the files of the sandboxes that pattern matches. See filepath.Match.
func (c Config) sandboxFiles(pattern string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(c.shimDir(), pattern+".*"))
	if err != nil {
		return nil, fmt.Errorf("list files of sandboxes: %w", err)
	}
	return found, nil
}

// removeSandboxFiles removes the files of a sandbox that containerd knows no more; until then its shim needs them.
func (e *Engine) removeSandboxFiles(id string) error {
	found, err := e.cfg.sandboxFiles(id)
	if err != nil {
		return err
	}
	return removeAll(found)
}
