package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sandpool/runtime/checkpoint"
	"sandpool/runtime/runsc"
)

// The files that each sandbox has in the folder of Config.shimDir, named after it. The container's record names the shim's
// file once and for all, so a sandbox has one of its own, which can be another when it is started again. Those of a restored one are
// runsc.RestorerSuffix and runsc.ImageSuffix.
const (
	shimSuffix     = ".toml"     // what its shim reads when its task is created
	fitSuffix      = ".json"     // what it was made with
	promisedSuffix = ".promised" // of one that is being handed out; see Promise
	panicSuffix    = ".panic"    // what its sentry writes when it crashes
)

// shimDir holds the files of each sandbox's own.
func (c Config) shimDir() string { return filepath.Join(c.StateDir, "shim") }

func (c Config) sandboxFile(id, suffix string) string { return filepath.Join(c.shimDir(), id+suffix) }

// ownFiles are the files of a new sandbox: what its shim reads, and what the sandbox is made with.
func (e *Engine) ownFiles(id string, t *Prepared, nic string) (map[string][]byte, error) {
	made, err := e.compatibilityNow(t)
	if err != nil {
		return nil, err
	}
	fit, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("encode what the sandbox is made with: %w", err)
	}
	file := t.shim.Clone()
	if e.panicLogs {
		file.Flags[runsc.FlagPanicLog] = e.cfg.sandboxFile(id, panicSuffix)
	}
	if nic != "" {
		file.Flags[runsc.FlagNetwork] = "sandbox"
	}
	shim, err := file.Encode()
	if err != nil {
		return nil, err
	}
	// A crash that is noted is one of an earlier sentry of a sandbox that is revived.
	return map[string][]byte{fitSuffix: fit, shimSuffix: shim, panicSuffix: nil}, nil
}

// shimFile is what the shims of a template's sandboxes read; its platform's file stays the same for as long as the engine is there.
func (e *Engine) shimFile(t *Prepared) (runsc.ShimFile, error) {
	file, err := runsc.ReadShimFile(runsc.PlatformFile(e.cfg.StateDir, t.platform))
	if err != nil {
		return file, err
	}
	if t.disk != "" {
		file.LimitOverlay(t.disk)
	}
	if t.setuid {
		file.Flags[runsc.FlagSetuid] = "true"
	}
	return file, nil
}

// madeWith returns what a sandbox was made with, and its shim's file.
func (e *Engine) madeWith(id string) (made checkpoint.Compatibility, file runsc.ShimFile, _ error) {
	data, err := os.ReadFile(e.cfg.sandboxFile(id, fitSuffix))
	if err == nil {
		err = json.Unmarshal(data, &made)
	}
	if err != nil {
		return made, file, fmt.Errorf("find out what it was made with: %w", err)
	}
	file, err = runsc.ReadShimFile(e.cfg.sandboxFile(id, shimSuffix))
	return made, file, err
}

// writeRestoreFiles makes the next start of a sandbox's task a restore of the checkpoint in dir.
func (e *Engine) writeRestoreFiles(id, dir string) error {
	file, err := runsc.ReadShimFile(e.cfg.sandboxFile(id, shimSuffix))
	if err != nil {
		return err
	}
	file.Program = e.cfg.sandboxFile(id, runsc.RestorerSuffix)
	script, _ := runsc.Restorer(e.cfg.StateDir, e.runsc.Path)
	return errors.Join(
		file.Write(e.cfg.sandboxFile(id, shimSuffix)),
		link(dir, e.cfg.sandboxFile(id, runsc.ImageSuffix)),
		link(script, e.cfg.sandboxFile(id, runsc.RestorerSuffix)),
	)
}

// settleRestoreFiles removes what only the start of a restored sandbox's task needs. The script stays: the shell of a call that
// the shim has begun, such as that of "runsc wait", may open it much later.
func (e *Engine) settleRestoreFiles(id string) error {
	return os.Remove(e.cfg.sandboxFile(id, runsc.ImageSuffix))
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
