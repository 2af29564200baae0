package resource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// files are those that the shim reads and those that the engine takes notes in, each named after the sandbox.
func (s *Set) files() kind {
	write := func(_ context.Context, spec *Spec) error {
		for suffix, content := range spec.Files {
			path := filepath.Join(s.cfg.FilesDir, spec.ID+suffix)
			var err error
			if content == nil {
				err = removeAll([]string{path})
			} else {
				err = os.WriteFile(path, content, 0o600)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return kind{
		name:   "files",
		make:   write,
		renew:  write, // the folder may not outlive the host
		remove: func(_ context.Context, id string) error { return removeMatches(s.cfg.FilesDir, id+".*") },
		owners: func(context.Context) ([]string, error) { return idsIn(s.cfg.FilesDir) },
	}
}

// idsIn returns the ids that the names in a folder have in them. A folder that is not there has none.
func idsIn(dir string) (ids []string, _ error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if id := anyID.FindString(entry.Name()); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// matches returns what is in a folder and matches a pattern. See filepath.Match.
func matches(dir string, patterns ...string) (all []string, _ error) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func removeMatches(dir string, patterns ...string) error {
	found, err := matches(dir, patterns...)
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
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
