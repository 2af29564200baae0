package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// cgroupRoot is where the host's cgroups are mounted: one hierarchy, or a folder for each.
const cgroupRoot = "/sys/fs/cgroup"

// cgroups returns the cgroups of the sandboxes that pattern matches; see filepath.Match.
func (e *Engine) cgroups(pattern string) ([]string, error) {
	var all []string
	for _, hierarchy := range []string{"", "*"} {
		found, err := filepath.Glob(filepath.Join(cgroupRoot, hierarchy, e.cfg.Namespace, pattern))
		if err != nil {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// removeCgroups removes what a `runsc create` leaves that was broken off before it had noted down what it made.
func (e *Engine) removeCgroups(id string) error {
	found, err := e.cgroups(id)
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range found {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}
