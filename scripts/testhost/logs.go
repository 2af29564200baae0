package testhost

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// logsKept is how many runs of tests that failed have their logs kept.
const logsKept = 20

// keepLogs copies every log in the host's folder, whole, into a folder of dir with the given name, which it returns. The oldest of
// those that are there go.
func (h *Host) keepLogs(dir, name string) (kept string, _ error) {
	kept = filepath.Join(dir, name)
	if err := os.MkdirAll(kept, 0o755); err != nil { //nolint:gosec // for whoever reads a failed run's logs
		return "", fmt.Errorf("keep logs: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(h.Dir, "*.log"))
	errs := []error{err}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(kept, filepath.Base(path)), data, 0o644) //nolint:gosec // as above
		}
		errs = append(errs, err)
	}
	if err := errors.Join(append(errs, removeOldest(dir, logsKept))...); err != nil {
		return "", fmt.Errorf("keep logs: %w", err)
	}
	return kept, nil
}

// removeOldest removes all but the last entries of dir.
func removeOldest(dir string, last int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	made := map[string]time.Time{}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil { // another run may have removed it
			made[entry.Name()] = info.ModTime()
		}
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int {
		return cmp.Or(made[a.Name()].Compare(made[b.Name()]), cmp.Compare(a.Name(), b.Name()))
	})
	var errs []error
	for _, entry := range entries[:max(0, len(entries)-last)] {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return errors.Join(errs...)
}

// logsOfRun is where the host's logs are kept when a test fails: in .build/logs of the checkout, by package, process and host.
func (h *Host) logsOfRun() (dir, name string, _ error) {
	root, err := checkout()
	if err != nil {
		return "", "", err
	}
	here, err := os.Getwd()
	if err != nil {
		return "", "", err
	}
	pkg, err := filepath.Rel(root, here)
	if err != nil {
		return "", "", err
	}
	pkg = strings.ReplaceAll(pkg, string(filepath.Separator), "-")
	name = fmt.Sprintf("%s-%d-%s", pkg, os.Getpid(), strings.TrimPrefix(filepath.Base(h.Dir), dirPrefix))
	return filepath.Join(root, ".build", "logs"), name, nil
}

// ShowLogs prints the last lines of each log to standard error and keeps the whole: what to read after a failure.
func (h *Host) ShowLogs(lines int) {
	h.Logs(os.Stderr, lines)
	dir, name, err := h.logsOfRun()
	if err == nil {
		name, err = h.keepLogs(dir, name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Fprintf(os.Stderr, "--- whole logs are kept in %s\n", name)
}
