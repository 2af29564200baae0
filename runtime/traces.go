package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// cgroupRoot is where the host's cgroups are mounted: one hierarchy, or a folder for each.
const cgroupRoot = "/sys/fs/cgroup"

// cgroups returns those of the sandbox id. A namespace's folder of cgroups has its name, so daemons with a containerd of their
// own each may share it: a cgroup does not show whose sandbox it is of.
func (e *Engine) cgroups(id string) ([]string, error) {
	return globAll(filepath.Join(cgroupRoot, e.cfg.Namespace, id), filepath.Join(cgroupRoot, "*", e.cfg.Namespace, id))
}

// runscTraces returns what a runsc that was killed leaves in its root folder, which is this daemon's alone, of the sandboxes
// that pattern matches. See filepath.Match.
func (e *Engine) runscTraces(pattern string) ([]string, error) {
	root := string(e.cfg.runscRoot())
	return globAll(filepath.Join(root, pattern+"_sandbox:*"), filepath.Join(root, "runsc-"+pattern+".sock"))
}

func globAll(patterns ...string) ([]string, error) {
	var all []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("list traces of sandboxes: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// traces returns what a runsc leaves of a sandbox when it or its shim is killed before it could note down or undo what it
// made: cgroups, and files in its own root folder.
func (e *Engine) traces(id string) ([]string, error) {
	groups, err := e.cgroups(id)
	files, filesErr := e.runscTraces(id)
	return append(groups, files...), errors.Join(err, filesErr)
}

// removeTraces removes what is left of a sandbox whose processes have all ended.
func (e *Engine) removeTraces(id string) error {
	found, err := e.traces(id)
	if err != nil {
		return err
	}
	return removeAll(found)
}

// removeAll removes files and empty folders, as many of them as can be; those that are gone are no error.
func removeAll(paths []string) error {
	var errs []error
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove what a sandbox left: %w", err))
		}
	}
	return errors.Join(errs...)
}

// sweepPipes removes the pipes of exec'd processes that nobody removed and that are older than age. Once a process has
// started, both of their ends are open and the files are not needed any more.
func (e *Engine) sweepPipes(age time.Duration) error {
	entries, err := os.ReadDir(e.cfg.fifoDir())
	if err != nil {
		return fmt.Errorf("list pipes: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) >= age {
			errs = append(errs, os.RemoveAll(filepath.Join(e.cfg.fifoDir(), entry.Name())))
		}
	}
	return errors.Join(errs...)
}
