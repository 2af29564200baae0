package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"sandpool/runtime/atomicfile"
	"sandpool/runtime/checkpoint"
)

// The files that each sandbox has in the folder of Config.shimDir, named after it. The container's record names the shim's
// file once and for all, so a sandbox has one of its own, which can be another when it is started again.
const (
	shimSuffix     = ".toml"     // what its shim reads when its task is created
	fitSuffix      = ".json"     // what it was made with
	runscSuffix    = ".runsc"    // of one that is restored: the program that its shim takes for runsc, for as long as the task lives
	imageSuffix    = ".image"    // of one that is being restored: a link to the checkpoint's folder
	promisedSuffix = ".promised" // of one that is being handed out; see Promise
	panicSuffix    = ".panic"    // what its sentry writes when it crashes
)

// restoreScript is the runsc of a restored sandbox's shim: it restores where the shim would start. It is called by a name of
// the sandbox's own, beside which the checkpoint is.
const restoreScript = `#!/bin/sh
# Written by sandpoold, which never changes it: shims open it at any time. Another runsc gets a script of another name.
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

const restorerPrefix = "runsc-restore" // of the scripts' names

// shimDir holds the files of each sandbox's own.
func (c Config) shimDir() string { return filepath.Join(c.StateDir, "shim") }

func (c Config) sandboxFile(id, suffix string) string { return filepath.Join(c.shimDir(), id+suffix) }

// restorer returns the script that all sandboxes share which are restored with this runsc, and its text. The name follows from
// the text: what a shell may still have to open is never another.
func (c Config) restorer(runsc string) (path string, text []byte) {
	quoted := "'" + strings.ReplaceAll(runsc, "'", `'\''`) + "'"
	text = fmt.Appendf(nil, restoreScript, runscSuffix, imageSuffix, quoted)
	return filepath.Join(c.StateDir, restorerPrefix+"-"+digest(text)[:12]), text
}

// writeRestoreScript writes the script for this runsc unless it is there, and removes those for others that no sandbox needs.
func (c Config) writeRestoreScript(runsc string) error {
	path, text := c.restorer(runsc)
	if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, text) {
		if err := atomicfile.Write(path, text); err != nil {
			return err
		}
	}
	if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // a program
		return fmt.Errorf("write %s: %w", path, err)
	}
	return c.removeOldScripts(path)
}

func (c Config) removeOldScripts(current string) error {
	scripts, err := filepath.Glob(filepath.Join(c.StateDir, restorerPrefix+"*"))
	if err != nil {
		return fmt.Errorf("list restore scripts: %w", err)
	}
	links, err := filepath.Glob(filepath.Join(c.shimDir(), "*"+runscSuffix))
	if err != nil {
		return fmt.Errorf("list restored sandboxes: %w", err)
	}
	needed := map[string]bool{current: true}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			return fmt.Errorf("find a sandbox's restore script: %w", err)
		}
		needed[target] = true
	}
	return removeAll(slices.DeleteFunc(scripts, func(path string) bool { return needed[path] }))
}

// ownFiles are the files of a new sandbox: what its shim reads, and what the sandbox is made with.
func (e *Engine) ownFiles(id string, t *Prepared) (map[string][]byte, error) {
	made, err := e.fit(t)
	if err != nil {
		return nil, err
	}
	fit, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("encode what the sandbox is made with: %w", err)
	}
	file, err := e.shimFile(t)
	if err != nil {
		return nil, err
	}
	if e.panicLogs {
		file.RunscFlags[panicLogFlag] = e.cfg.sandboxFile(id, panicSuffix)
	}
	shim, err := toml.Marshal(file)
	if err != nil {
		return nil, fmt.Errorf("encode the shim's file: %w", err)
	}
	// A crash that is noted is one of an earlier sentry of a sandbox that is revived.
	return map[string][]byte{fitSuffix: fit, shimSuffix: shim, panicSuffix: nil}, nil
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
	script, _ := e.cfg.restorer(e.runsc)
	return errors.Join(
		writeShimFile(e.cfg.sandboxFile(id, shimSuffix), file),
		link(dir, e.cfg.sandboxFile(id, imageSuffix)),
		link(script, e.cfg.sandboxFile(id, runscSuffix)),
	)
}

// settleRestoreFiles removes what only the start of a restored sandbox's task needs. The script stays: the shell of a call that
// the shim has begun, such as that of "runsc wait", may open it much later.
func (e *Engine) settleRestoreFiles(id string) error {
	return os.Remove(e.cfg.sandboxFile(id, imageSuffix))
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
