package testhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sandpool/runtime/hostpath"
)

var quotedPath = regexp.MustCompile(`"(file://)?(/[^"]+)"`)

// Trusted returns the text of a configuration whose programs and archives are copies in the host's folder if others than root could
// change them, as in a checkout that is a user's: the daemon refuses such.
func (h *Host) Trusted(config string) (string, error) {
	var errs []error
	text := quotedPath.ReplaceAllStringFunc(config, func(quoted string) string {
		path := quotedPath.FindStringSubmatch(quoted)[2]
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || hostpath.Check(path) == nil {
			return quoted
		}
		own := filepath.Join(h.Dir, "trusted-"+filepath.Base(path))
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(own, data, 0o755) //nolint:gosec // it may be a program
		}
		errs = append(errs, err)
		return strings.Replace(quoted, path, own, 1)
	})
	if err := errors.Join(errs...); err != nil {
		return "", fmt.Errorf("copy what the daemon trusts: %w", err)
	}
	return text, nil
}
