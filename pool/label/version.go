package label

import (
	"fmt"
	"strconv"
	"strings"
)

// Prefix begins the names of all labels of ours.
const Prefix = "sandpool."

// Ours tells whether any label is ours.
func Ours(labels map[string]string) bool {
	for key := range labels {
		if strings.HasPrefix(key, Prefix) {
			return true
		}
	}
	return false
}

// NewerError says that labels were written by a later version of the daemon. Such a sandbox is not touched.
type NewerError struct{ Version, Newest int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("labels of version %d: a newer sandpoold wrote them, this one reads versions 1 to %d", e.Version, e.Newest)
}

// Version reads the version of labels, of which the newest is known. It returns an error for one that there never was, and a *NewerError for a later one.
func Version(text string, newest int) (int, error) {
	version, err := strconv.Atoi(text)
	switch {
	case err == nil && version > newest:
		return 0, &NewerError{version, newest}
	case err != nil || version < 1:
		return 0, fmt.Errorf("labels of version %q: this daemon reads versions 1 to %d", text, newest)
	}
	return version, nil
}
