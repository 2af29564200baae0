package runtime

import (
	"fmt"
	"regexp"
	"strconv"
)

var containerdMajor = regexp.MustCompile(`^v?(\d+)\.`)

// checkContainerd refuses versions whose API the daemon does not speak.
func checkContainerd(version string) error {
	m := containerdMajor.FindStringSubmatch(version)
	if m == nil {
		return nil // a build without a version; the calls themselves will tell
	}
	if major, err := strconv.Atoi(m[1]); err != nil || major < 2 {
		return fmt.Errorf("containerd %s is too old: install containerd 2.0 or later", version)
	}
	return nil
}
